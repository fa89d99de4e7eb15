# Video object segmentation on DAVIS 2017. Published for DINO, J&F: ViT-S/16 61.8, ViT-B/16 62.3,
# ViT-S/8 69.9, ViT-B/8 71.4.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/video_segmentation.py',
    '../../_base_/datasets/labelled/davis2017.py',
]
