# Linear probing as in AMT and MAE (AMT, section 4.1; MAE, table 10): frozen backbone, batch norm
# without affine parameters and a linear head on [CLS]; LARS, learning rate .1 per 256 images, 90
# epochs including 10 of warm-up, no weight decay, crops and flips only. LARS is mmpretrain's; MAE's
# and AMT's code applies the rate to the momentum: optim_wrapper.optimizer.type=amt_mm.MAELARS
_base_ = './training_224px.py'
protocol = 'linear'

model = dict(
    frozen=True,
    neck=dict(type='ClsBatchNormNeck'),
    head=dict(
        type='VisionTransformerClsHead',
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.01)]))

train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
train_dataloader = dict(batch_size=2048, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='LARS', lr=6.4, weight_decay=0.0, momentum=0.9),
    # As in MAE, the trust ratio applies to matrices only.
    paramwise_cfg=dict(custom_keys={'bias': dict(lars_exclude=True)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=80, begin=10, end=90, convert_to_iter_based=True)
]
# Each process has its own batch statistics; validation and checkpoints need common ones.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='SyncBuffersHook'),
    dict(type='amt_mm.LastBatchHook')
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
# 8 GPUs with 2048 images each.
auto_scale_lr = dict(base_batch_size=16384)
