# vitdet_90k.py in 75k iterations, as the AMT paper trains on LVIS: 12 epochs.
_base_ = 'vitdet_90k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=75000,
        milestones=[66667, 72222],
        gamma=0.1)
]

# Evaluation takes long on LVIS.
train_cfg = dict(max_iters=75000, val_interval=75000)
