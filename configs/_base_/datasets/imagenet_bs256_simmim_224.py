# ImageNet-1K as SimMIM crops it: .67 to 1 of the image, bilinear. mmpretrain's data set file draws
# the mask in the pipeline and crops 192 pixels for Swin; here the preprocessor samples the mask
# plan.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs256_simmim_192.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.67, 1.0),
        backend='pillow',
        interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs')
]
# `_delete_` drops a scope entry that the runner would pass to the function.
train_dataloader = dict(
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=train_pipeline))
