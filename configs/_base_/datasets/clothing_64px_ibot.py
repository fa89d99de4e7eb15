# clothing-dataset-small with 2 global crops of 48 pixels and 4 local ones of 24, augmented as
# iBOT augments ImageNet; probes see whole images of 64 pixels.
_base_ = './clothing_64px.py'

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
# A blur radius of 2 pixels at 224 is less than half a pixel at this size.
_blur = dict(type='GaussianBlur', magnitude_range=(0.1, 0.6), magnitude_std='inf')
_global = dict(**_crop, scale=48, crop_ratio_range=(0.25, 1.0))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='amt_mm.LoadImage'),
            dict(
                type='MultiView',
                num_views=[1, 1, 4],
                transforms=[
                    [_global, *_colours, dict(**_blur, prob=1.0)],
                    [_global, *_colours, dict(**_blur, prob=0.1),
                     dict(type='Solarize', thr=128, prob=0.2)],
                    [dict(**_crop, scale=24, crop_ratio_range=(0.05, 0.25)), *_colours,
                     dict(**_blur, prob=0.5)]
                ]),
            dict(type='PackInputs')
        ]))
