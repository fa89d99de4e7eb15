# MAE, random masking 75/0, 200 epochs: Table 4, row "random mask 75/0".
# Expected: 52.3 linear on Tiny ImageNet.
#   bash tools/dist_train.sh configs/mae/mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = './mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=160, by_epoch=True, begin=40, end=200,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=200)
