# Linear probing on your own class folders.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/folder.py',
]
