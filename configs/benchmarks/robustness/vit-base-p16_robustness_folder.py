# k-NN on your own class folders, with test images occluded and shuffled.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/robustness.py',
    '../../_base_/datasets/labelled/folder.py',
]
