# Generated scenes on plain backgrounds, whose shapes 24 epochs learn.
_base_ = './mae_vit-mini-p8_scenes_24e.py'

train_dataloader = dict(dataset=dict(style='plain'))
probe = dict(train=dict(style='plain'), test=dict(style='plain'))
