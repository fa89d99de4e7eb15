# Table 4, row "AMT 75/10". Expected: 51.7 linear on Tiny ImageNet.
#   bash tools/dist_train.sh configs/mae/mae-amt-75-10_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-amt.py']

data_preprocessor = dict(mask_generator=dict(mask_ratio=0.75, throw_ratio=0.10))
