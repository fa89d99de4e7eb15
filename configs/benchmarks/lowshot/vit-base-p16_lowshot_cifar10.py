# Low-shot on CIFAR-10. The paper reports no figure.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/lowshot.py',
    '../../_base_/datasets/labelled/cifar10.py',
]
