# Linear probing on Tiny ImageNet. Table 1 of AMT: MAE 55.2, + AM 59.9, + AMT 59.6.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/tiny_imagenet.py',
]
