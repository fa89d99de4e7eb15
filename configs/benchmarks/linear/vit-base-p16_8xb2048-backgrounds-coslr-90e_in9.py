# Linear probing on ImageNet-1K, measured on ImageNet-9. AMT reports no figure.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/backgrounds.py',
    '../../_base_/datasets/labelled/imagenet9.py',
]
