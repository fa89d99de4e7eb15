# Logistic regression on your own class folders, at the best of several penalties.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear_sweep.py',
    '../../_base_/datasets/labelled/folder.py',
]
