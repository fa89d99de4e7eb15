# The control between MAE and AMT: AMT's ratios without attention. It differs from AMT only in
# attention, and from MAE only in the ratios.
#   python tools/train.py \
#     configs/clothing/mae-random-throw-45-40_vit-mini-p8_1xb128-coslr-30e_clothing.py
_base_ = './mae_vit-mini-p8_1xb128-coslr-30e_clothing.py'

data_preprocessor = dict(mask_generator=dict(mask_ratio=0.45, throw_ratio=0.40))
