# MAE, masked at random. On generated scenes.
#   python tools/train.py THIS_CONFIG
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/scenes_64px.py',
    '../_base_/schedules/mini_adamw-coslr-24e.py', '../_base_/amt/mae-random.py'
]
