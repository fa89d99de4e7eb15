# Photographs of clothes at 64 pixels, 30 epochs; judged on 713 images, and on all 3,781 in folds.
_base_ = [
    '../../_base_/models/mae_vit-mini-p8_64px.py', '../../_base_/datasets/clothing_64px.py',
    '../../_base_/schedules/mini_adamw-coslr-30e.py'
]

probe = dict(folds=5)
