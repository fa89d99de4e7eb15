# Table 4, row "attention mask 75/0". Expected: 50.1 linear on Tiny ImageNet.
#   bash tools/dist_train.sh configs/mae/mae-am_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-am.py']
