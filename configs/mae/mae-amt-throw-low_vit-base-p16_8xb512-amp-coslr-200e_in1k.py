# Table 4, row "AMT 45/40, the least attended thrown". Expected: 52.6 linear on Tiny ImageNet.
#   bash tools/dist_train.sh \
#     configs/mae/mae-amt-throw-low_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-amt.py']

data_preprocessor = dict(mask_generator=dict(throw='low'))
