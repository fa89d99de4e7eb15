# A small ViT on 80 images of COCO, trained and evaluated on the same ones, to check that everything
# learns. The encoder is one of configs/clothing, put the images in data/coco_mini:
# docs/detection.md.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
#   python tools/test.py THIS_CONFIG work_dirs/NAME/iter_1000.pth
_base_ = [
    '../../_base_/models/mask-rcnn_vitdet.py',
    '../../_base_/datasets/coco_lsj_1024.py',
    '../../_base_/schedules/vitdet_90k.py',
    '../../_base_/detection_runtime.py',
]
custom_imports = dict(imports=['amt_mm.detection.with_mmdet'])

model = dict(
    data_preprocessor=dict(pad_size_divisor=256),
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=256,
        patch_size=8,
        # The grid of pre-training at 64 pixels.
        window_size=8,
        drop_path_rate=0.0),
    # A quarter of ViTDet's width after the backbone and fewer boxes per image than its 512 and
    # 1000, so that a CPU suffices.
    neck=dict(in_channels=192, out_channels=64, patch_size=8),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, conv_out_channels=64, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)))

# Without jitter: the model must overfit these images.
train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    # amt_mm.LoadImage, by the name that mmdet's DetInferencer looks for.
    dict(type='amt_mm.LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(data_root='data/coco_mini', pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root='data/coco_mini',
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/coco_mini/annotations/instances_train2017.json')
test_evaluator = val_evaluator

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='amt_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.8))
auto_scale_lr = dict(base_batch_size=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=1000,
        milestones=[800, 950],
        gamma=0.1)
]
train_cfg = dict(max_iters=1000, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500), logger=dict(interval=20))
