# Base of the recipes of `amt pretrain FOLDER` and `make quickstart DATA=FOLDER`: 64 pixels,
# 2.7 M parameters; batch, rate and epochs follow from the number of images
# (amt_mm/config/batch_and_epochs.py).
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/folder_64px.py',
    '../_base_/schedules/mini_adamw-coslr-60e.py'
]
