# AdamW with MAE's betas and weight decay, 10 % warm-up, cosine to 0. The learning rate is for a
# batch of 128: ten times MAE's scaling rule, since short runs of small models need it.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.0),
            mask_token=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=6,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=54, by_epoch=True, begin=6, end=60,
         convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=128)
randomness = dict(seed=0)
