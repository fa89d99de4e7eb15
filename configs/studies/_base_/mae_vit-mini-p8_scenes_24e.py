# Generated scenes at 64 pixels, 24 epochs; 1,200 images to judge by, with exact masks of objects.
_base_ = [
    '../../_base_/models/mae_vit-mini-p8_64px.py', '../../_base_/datasets/scenes_64px.py',
    '../../_base_/schedules/mini_adamw-coslr-24e.py'
]
