# iBOT with random masks and one ratio per crop.
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=dict(strategy='random'))
