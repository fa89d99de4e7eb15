# AttMask-High: the most attended tokens are masked; ViT-S/16, 100 epochs on ImageNet-1K.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719): 72.5 k-NN, 75.7 linear (teacher).
#   bash tools/dist_train.sh \
#     configs/attmask/ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py 4
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=dict(strategy='high'))
