# The recommended recipe on generated scenes; the quickstart sets batch and epochs.
#   make quickstart
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/scenes_64px.py',
    '../_base_/schedules/mini_adamw-coslr-24e.py', '../_base_/recommended/mae.py'
]
