# MAE + AM on photographs of clothes: masks follow attention from epoch 8 on, refreshed every 8.
#   python tools/train.py configs/clothing/mae-am_vit-mini-p8_1xb128-coslr-30e_clothing.py
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/clothing_64px.py',
    '../_base_/schedules/mini_adamw-coslr-30e.py',
    '../_base_/amt/mae-am.py'
]

overlay = dict(hooks=dict(saliency=dict(begin=8, interval=8)))
