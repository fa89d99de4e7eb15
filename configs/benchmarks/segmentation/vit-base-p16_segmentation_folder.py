# Linear segmentation of your own images with masks.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/segmentation.py',
    '../../_base_/datasets/labelled/masks.py',
]
# For some hundred images.
test_cfg = dict(iterations=2000)
