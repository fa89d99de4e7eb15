# Clustering and label-free measures on your own class folders.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/unsupervised.py',
    '../../_base_/datasets/labelled/folder.py',
]
