# MAE + AMT with the weights of AMT's released code, on photographs of clothes.
#   python tools/train.py configs/clothing/mae-amt-released_vit-mini-p8_1xb128-coslr-30e_clothing.py
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/clothing_64px.py',
    '../_base_/schedules/mini_adamw-coslr-30e.py', '../_base_/amt/mae-amt-released.py'
]

overlay = dict(hooks=dict(saliency=dict(begin=8, interval=8)))
