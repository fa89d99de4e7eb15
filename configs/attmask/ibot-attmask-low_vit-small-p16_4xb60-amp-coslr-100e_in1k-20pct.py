# AttMask-Low on a fifth of ImageNet-1K.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719).
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k-20pct.py'

model = dict(masking=dict(strategy='low'))
