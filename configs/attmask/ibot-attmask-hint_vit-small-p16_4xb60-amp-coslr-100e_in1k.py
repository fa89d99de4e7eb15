# AttMask-Hint: the most attended tokens are masked, except for some of the top tenth.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719): 72.8 k-NN, 76.1 linear (teacher).
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=dict(strategy='hint', show=0.1))
