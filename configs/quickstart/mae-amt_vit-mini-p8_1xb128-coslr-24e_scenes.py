# MAE + AMT: masks follow attention from epoch 6 on, refreshed every 6. On generated scenes.
#   python tools/train.py THIS_CONFIG
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/scenes_64px.py',
    '../_base_/schedules/mini_adamw-coslr-24e.py', '../_base_/amt/mae-amt.py'
]

overlay = dict(hooks=dict(saliency=dict(begin=6, interval=6)))
