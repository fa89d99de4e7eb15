# Generated scenes at 64 pixels, 24 epochs; judged on 1,200 images with exact object masks.
_base_ = [
    '../../_base_/models/mae_vit-mini-p8_64px.py', '../../_base_/datasets/scenes_64px.py',
    '../../_base_/schedules/mini_adamw-coslr-24e.py'
]
