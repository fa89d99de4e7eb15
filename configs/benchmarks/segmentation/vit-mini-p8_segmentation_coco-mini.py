# Linear segmentation of 120 images of COCO in 12 supercategories and background, by the encoders of
# configs/clothing, docs/appendix/results.md. tools/dataset_tools/paint_masks.py makes the masks.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/segmentation.py',
    '../../_base_/datasets/labelled/masks.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        patch_size=8))

test_dataloader = dict(num_workers=0)
# Twice that of pre-training: patches of 8 pixels are coarse.
overlay = dict(
    image_size=128,
    labelled=dict(dataset=dict(data_root='data/coco_mini_masks', num_classes=13)))
test_cfg = dict(iterations=1000)
