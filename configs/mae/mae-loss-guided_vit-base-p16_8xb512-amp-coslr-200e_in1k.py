# Ablation: patches with a high loss are masked (after HPM), easy to hard, without attention. No
# result is published for this recipe.
#   bash tools/dist_train.sh \
#     configs/mae/mae-loss-guided_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-random.py']

data_preprocessor = dict(mask_generator=dict(
    type='amt_mm.AnnealedMaskGenerator', mask_ratio=0.75, throw_ratio=0.0))
overlay = dict(hooks=dict(
    losses=dict(type='amt_mm.TokenLossHook', begin=40),
    progress=dict(type='amt_mm.MaskProgressHook')))
