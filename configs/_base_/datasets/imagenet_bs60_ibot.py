# ImageNet-1K in 2 global crops of 224 pixels and 10 local ones of 96, as DINO and iBOT augment
# them. For other numbers and scales change `train_pipeline` as in configs/attmask.
data_preprocessor = dict(
    type='SelfSupDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)

_colours = [
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomApply',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2,
                         hue=0.1)],
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True,
         channel_weights=(0.114, 0.587, 0.2989))
]
_crop = dict(type='RandomResizedCrop', interpolation='bicubic', backend='pillow')
_blur = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')
_global = dict(**_crop, scale=224, crop_ratio_range=(0.25, 1.0))
train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(
        type='MultiView',
        num_views=[1, 1, 10],
        transforms=[
            [_global, *_colours, dict(**_blur, prob=1.0)],
            [_global, *_colours, dict(**_blur, prob=0.1), dict(type='Solarize', thr=128,
                                                               prob=0.2)],
            [dict(**_crop, scale=96, crop_ratio_range=(0.05, 0.25)), *_colours,
             dict(**_blur, prob=0.5)]
        ]),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=60,
    num_workers=10,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    dataset=dict(
        type='amt_mm.ImageNet', data_root='data/imagenet', split='train',
        pipeline=train_pipeline))
