# Linear probing on ImageNet-1K. Table 1 of AMT: MAE 56.6, + AM 61.5, + AMT 61.7.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/imagenet.py',
]
