# Ablation: AMT 45/40 with guidance that increases linearly over training, after HPM's easy-to-hard
# masking. No result is published.
#   bash tools/dist_train.sh \
#     configs/mae/mae-amt-annealed_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-amt.py']

data_preprocessor = dict(mask_generator=dict(type='amt_mm.AnnealedMaskGenerator'))
overlay = dict(hooks=dict(progress=dict(type='amt_mm.MaskProgressHook')))
