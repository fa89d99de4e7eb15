# Photographs of clothes at 64 pixels, 30 epochs; 713 images to judge by, and all 3,781, in folds.
_base_ = [
    '../../_base_/models/mae_vit-mini-p8_64px.py', '../../_base_/datasets/clothing_64px.py',
    '../../_base_/schedules/mini_adamw-coslr-30e.py'
]

probe = dict(folds=5)
