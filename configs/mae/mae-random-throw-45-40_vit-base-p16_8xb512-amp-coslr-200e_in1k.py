# Table 4, row "random throw 45/40": throwing without attention.
# Expected: 50.8 linear on Tiny ImageNet.
#   bash tools/dist_train.sh \
#     configs/mae/mae-random-throw-45-40_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-random.py']

data_preprocessor = dict(mask_generator=dict(mask_ratio=0.45, throw_ratio=0.40))
