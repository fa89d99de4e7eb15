# Linear evaluation on Tiny ImageNet on [CLS] of the last 4 blocks.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear_last4.py',
    '../../_base_/datasets/labelled/tiny_imagenet.py',
]
