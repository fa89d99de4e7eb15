# Base of the recipes of `make quickstart`, on generated scenes; batch, rate and epochs follow from
# the number of images (amt_mm/config/batch_and_epochs.py).
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/scenes_64px.py',
    '../_base_/schedules/mini_adamw-coslr-60e.py'
]

_scenes = dict(style='plain', num_samples=1600, image_size=64)
train_dataloader = dict(dataset=_scenes)
probe = dict(train=_scenes, test=dict(_scenes, num_samples=800))
