# AttMask-Low on photographs of clothes.
_base_ = './ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py'

model = dict(masking=dict(strategy='low'))
