# iBOT with AMT's weighted sampling (AAAI 2023, eq. 5) by the teacher's attention, instead of
# AttMask's hard cut. No result is published.
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(masking=dict(strategy='sampled'))
