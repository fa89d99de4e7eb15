# mini_adamw-coslr-60e.py in 24 epochs.
_base_ = './mini_adamw-coslr-60e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=2,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=22, by_epoch=True, begin=2, end=24,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=24)
default_hooks = dict(checkpoint=dict(interval=24))
