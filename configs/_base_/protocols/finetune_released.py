# Fine-tuning with the command in the README of AMT's code, the recipe of MAE's paper (table 9):
# learning rate 1e-3 per 256 images, layer decay .75, on the mean of the patch tokens.
_base_ = './finetune.py'

model = dict(backbone=dict(out_type='avg_featmap'))
optim_wrapper = dict(
    optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=95,
        eta_min_ratio=1e-6 / 4e-3,
        begin=5,
        end=100,
        convert_to_iter_based=True)
]
