# Semantic segmentation by mmseg: its crops of 512 pixels, runtime and 160k iterations, with the
# optimiser of MAE's fine-tuning on ADE20K in mmseg, after BEiT: AdamW at 1e-4 for 16 images, weight
# decay .05, layer decay .65, 1,500 iterations of warm-up, then linear to 0. A file of
# _base_/datasets/labelled has the images and masks.
_base_ = [
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_160k.py',
]

train_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # Again, since the mask of a test image keeps its own size.
    dict(type='amt_mm.LoadMask'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(batch_size=2, dataset=dict(_delete_=True, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(_delete_=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    constructor='amt_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.65))
auto_scale_lr = dict(enable=False, base_batch_size=16)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=160000, by_epoch=False)
]
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2),
    # Empty on purpose: weights are never random by omission. A file, or 'none' for random ones.
    pretrained=dict(type='amt_mm.PretrainedBackboneHook', checkpoint=''))
randomness = dict(seed=0, diff_rank_seed=True)
