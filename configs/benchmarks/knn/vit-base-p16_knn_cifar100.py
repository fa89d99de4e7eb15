# k-NN on CIFAR-100. The paper reports no figure.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/knn.py',
    '../../_base_/datasets/labelled/cifar100.py',
]
