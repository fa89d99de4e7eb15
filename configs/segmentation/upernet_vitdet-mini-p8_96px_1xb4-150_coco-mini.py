# A small ViT on the masks of 120 images of COCO, to check that a run works from end to end. It is
# too short to find objects: docs/detection.md. The encoder is one of configs/clothing, or none.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
#   python tools/test.py THIS_CONFIG work_dirs/NAME/iter_150.pth
_base_ = [
    '../_base_/models/upernet_vitdet.py',
    '../_base_/segmentation_512px.py',
    '../_base_/datasets/labelled/masks.py',
]

model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=96,
        patch_size=8,
        drop_path_rate=0.0),
    # Narrow, so that a CPU suffices.
    neck=dict(in_channels=192, out_channels=64, patch_size=8),
    decode_head=dict(in_channels=[64, 64, 64, 64], channels=64),
    auxiliary_head=dict(in_channels=64, channels=64),
    test_cfg=dict(_delete_=True, mode='whole'))

train_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='RandomResize', scale=(384, 96), ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(96, 96), cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='Resize', scale=(384, 96), keep_ratio=True),
    dict(type='amt_mm.LoadMask'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
overlay = dict(
    labelled=dict(dataset=dict(data_root='data/coco_mini_masks', num_classes=13)))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='amt_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=15),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=15, end=150, by_epoch=False)
]
train_cfg = dict(max_iters=150, val_interval=75)
default_hooks = dict(checkpoint=dict(interval=150), logger=dict(interval=10))
