# iBOT's schedule as AttMask uses it: learning rate 5e-4 per 256 images after 10 epochs of warm-up,
# weight decay from .04 to .4, none on biases and vectors, each gradient clipped to 3; the teacher's
# momentum from .996 to 1 and temperature from .04 to .07.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    constructor='amt_mm.TrainedOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=5e-4 * 240 / 256, betas=(0.9, 0.999), weight_decay=0.04, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, T_max=90, begin=10, end=100,
         convert_to_iter_based=True),
    # By ratio, so that what has no weight decay goes on having none.
    dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', eta_min_ratio=10,
         T_max=100, begin=0, end=100, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    clip=dict(type='amt_mm.ClipEachHook', max_norm=3.0),
    last_layer=dict(type='amt_mm.FrozenLastLayerHook', epochs=1),
    temperature=dict(type='amt_mm.TeacherTemperatureHook', start=0.04, end=0.07, epochs=30),
    teacher=dict(type='amt_mm.TeacherUpdateHook', momentum=0.996))
auto_scale_lr = dict(base_batch_size=240)
randomness = dict(seed=0, diff_rank_seed=True)
