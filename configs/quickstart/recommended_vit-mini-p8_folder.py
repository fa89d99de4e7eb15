# The recommended recipe on a folder of one's own images; the quickstart sets batch and epochs.
#   make quickstart DATA=<folder>
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/folder_64px.py',
    '../_base_/schedules/mini_adamw-coslr-24e.py', '../_base_/recommended/mae.py'
]
