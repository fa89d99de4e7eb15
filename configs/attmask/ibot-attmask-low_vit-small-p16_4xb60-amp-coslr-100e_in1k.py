# AttMask-Low, a control: the least attended tokens are masked.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719).
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=dict(strategy='low'))
