# Linear evaluation on ImageNet-1K on [CLS] of the last 4 blocks. AttMask (ECCV 2022), ViT-S/16
# teachers: Hint 100 epochs 76.1, High 75.7, High 300 epochs 77.5; on a fifth 57.5 and 57.9.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT \
#     --cfg-options model.backbone.arch=deit-small
_base_ = [
    '../../_base_/protocols/linear_last4.py',
    '../../_base_/datasets/labelled/imagenet.py',
]
