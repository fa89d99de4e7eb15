# MAE on photographs of clothes, the random baseline of docs/appendix/results.md.
# 2 CPU cores: 20 minutes.
#   python tools/train.py configs/clothing/mae_vit-mini-p8_1xb128-coslr-60e_clothing.py
_base_ = [
    '../_base_/models/mae_vit-mini-p8_64px.py', '../_base_/datasets/clothing_64px.py',
    '../_base_/schedules/mini_adamw-coslr-60e.py',
    '../_base_/amt/mae-random.py'
]
