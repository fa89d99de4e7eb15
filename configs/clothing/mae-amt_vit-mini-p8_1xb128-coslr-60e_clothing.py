# MAE + AMT on photographs of clothes: masks follow attention from epoch 15 on; refresh every 15.
#   python tools/train.py configs/clothing/mae-amt_vit-mini-p8_1xb128-coslr-60e_clothing.py
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/clothing_64px.py',
    '../_base_/schedules/mini_adamw-coslr-60e.py',
    '../_base_/amt/mae-amt.py'
]

overlay = dict(hooks=dict(saliency=dict(begin=15, interval=15)))
