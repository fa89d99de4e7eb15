# iBOT's schedule for 30 epochs of a small model in fp32: because steps are few, a higher learning
# rate and a faster teacher, with a constant temperature; a tenth of the epochs is warm-up.
_base_ = './ibot_adamw-coslr-100e.py'

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='amt_mm.TrainedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.04, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, T_max=27, begin=3, end=30,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', eta_min_ratio=10,
         T_max=30, begin=0, end=30, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=30)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=5, max_keep_ckpts=1),
    temperature=dict(end=0.04),
    teacher=dict(momentum=0.99))
auto_scale_lr = dict(base_batch_size=64)
randomness = dict(seed=0)
