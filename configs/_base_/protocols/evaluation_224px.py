# What all protocols on a pre-trained encoder share: ViT-B/16 on images of 224 pixels, a batch of
# the test set, the loading of the checkpoint. A file of _base_/datasets/labelled says which images.
#
# Another transformer: model.backbone.arch=deit-small (deit-tiny, large, huge or a dict) and
# model.backbone.patch_size; neck and head follow. Another size: overlay.image_size=32, which
# sets the pipelines and the position embeddings alike.
_base_ = 'mmpretrain::_base_/default_runtime.py'

model = dict(
    type='amt_mm.ViTClassifier',
    backbone=dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16))
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

test_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')
]
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_cfg = dict()

default_hooks = dict(pretrained=dict(type='amt_mm.PretrainedBackboneHook', checkpoint=''))
custom_hooks = [dict(type='amt_mm.ClassCountHook')]
randomness = dict(seed=0, diff_rank_seed=True)
