# mae_vit-mini-p8_clothing_30e.py for 90 epochs.
_base_ = './mae_vit-mini-p8_clothing_30e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=9,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=81, by_epoch=True, begin=9, end=90,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=90)
