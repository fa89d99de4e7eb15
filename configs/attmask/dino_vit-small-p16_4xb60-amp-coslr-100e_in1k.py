# DINO (Caron et al., ICCV 2021) with AttMask's recipe: nothing masked, only the [CLS] loss.
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=None, patch_weight=0.0)
