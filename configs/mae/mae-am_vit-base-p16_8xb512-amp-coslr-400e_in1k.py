# MAE + AM: attention-driven masking 75/0, nothing thrown, 400 epochs.
# Liu et al., AAAI 2023, Table 1. Expected: 61.5 linear, 82.5 fine-tuned on ImageNet-1K.
#   bash tools/dist_train.sh configs/mae/mae-am_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', '../_base_/amt/mae-am.py']
