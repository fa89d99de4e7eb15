# COCO 2017 with masks: data/coco/{train2017,val2017}/*.jpg and
# data/coco/annotations/instances_{train,val}2017.json.
#
# Large-scale jitter as in ViTDet: the image is scaled to fit .1 to 2 times 1024 x 1024, then
# cropped at random to 1024 x 1024. Crops without objects are kept, as background. Smaller images
# are padded to 1024 x 1024 with the mean colour by the model's preprocessor (pad_size_divisor), so
# that padding is 0 after normalisation and boxes still end at the edge of the image. Tests use the
# whole image, scaled to fit 1024 x 1024.
train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute',
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True),
    # `keep_empty=True` would drop empty crops, despite its name.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    # amt_mm.LoadImage, by the name that mmdet's DetInferencer looks for.
    dict(type='amt_mm.LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
    # For visualization only; the metric reads the annotation file.
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='amt_mm.CocoInstances',
        data_root='data/coco',
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017'),
        # Images without objects are left out; the log counts them.
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='amt_mm.CocoInstances',
        data_root='data/coco',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    type='amt_mm.CocoInstanceMetric', ann_file='data/coco/annotations/instances_val2017.json')
test_evaluator = val_evaluator
