# MAE + AMT: masks follow attention from epoch 6 on, renewed every 6.
# On a folder of one's own images.
#   make quickstart DATA=<folder>
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/folder_64px.py',
    '../_base_/schedules/mini_adamw-coslr-24e.py', '../_base_/amt/mae-amt.py'
]

overlay = dict(hooks=dict(saliency=dict(begin=6, interval=6)))
