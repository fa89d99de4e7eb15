# Linear segmentation of ADE20K at 512 pixels. Published for iBOT, ViT-B/16 with a linear head:
# 38.3 mIoU.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/segmentation.py',
    '../../_base_/datasets/labelled/ade20k.py',
]
overlay = dict(image_size=512)
