# mini_adamw-coslr-60e.py in 30 epochs, for comparisons over several seeds.
_base_ = './mini_adamw-coslr-60e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=3,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=27, by_epoch=True, begin=3, end=30,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=30)
