# CIFAR-10 as JPEGs in data/cifar10_jpg/{train,test}/<class>: 1,000 images per class for training
# and for fitting the probes, all 10,000 test images for judging. The same transformer on 64
# patches of 4 pixels; 12 epochs see 1.3 times the crops of 30 epochs of clothes.
_base_ = [
    '../../_base_/models/mae_vit-mini-p8_64px.py', '../../_base_/datasets/pretrain_64px.py',
    '../../_base_/schedules/mini_adamw-coslr-60e.py'
]

model = dict(
    backbone=dict(img_size=32, patch_size=4), neck=dict(patch_size=4), head=dict(patch_size=4))

_train = dict(
    type='amt_mm.ImageFolder', data_root='data/cifar10_jpg', data_prefix='train',
    first_of_class=1000)
_load = dict(type='amt_mm.LoadImage')
# Images have the size that the encoder takes.
_whole_pipeline = [_load, dict(type='PackInputs')]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            _load,
            dict(
                type='RandomResizedCrop',
                scale=32,
                crop_ratio_range=(0.3, 1.0),
                interpolation='bicubic',
                backend='pillow'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs')
        ],
        **_train))
probe = dict(
    train=dict(pipeline=_whole_pipeline, **_train),
    test=dict(
        type='amt_mm.ImageFolder', data_root='data/cifar10_jpg', data_prefix='test',
        pipeline=_whole_pipeline))

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=11, by_epoch=True, begin=1, end=12,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=12)
