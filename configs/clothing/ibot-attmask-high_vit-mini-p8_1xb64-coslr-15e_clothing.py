# AttMask-High on photographs of clothes.
_base_ = './ibot-random_vit-mini-p8_1xb64-coslr-15e_clothing.py'

model = dict(masking=dict(strategy='high'))
