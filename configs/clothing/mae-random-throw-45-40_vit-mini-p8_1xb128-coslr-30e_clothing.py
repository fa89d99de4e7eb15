# The control between MAE and AMT: AMT's ratios, no attention. What AMT differs from this by is
# the attention; what this differs from MAE by is the ratios.
#   python tools/train.py \
#     configs/clothing/mae-random-throw-45-40_vit-mini-p8_1xb128-coslr-30e_clothing.py
_base_ = './mae_vit-mini-p8_1xb128-coslr-30e_clothing.py'

data_preprocessor = dict(mask_generator=dict(mask_ratio=0.45, throw_ratio=0.40))
