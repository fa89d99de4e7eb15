# Settings of all protocols: ViT-B/16 on images of 224 pixels, loading of the checkpoint and of the
# test images, which a file of _base_/datasets/labelled selects.
#
# Other architectures: model.backbone.arch=deit-small (deit-tiny, large, huge or a dict) and
# model.backbone.patch_size; neck and head follow. Other image sizes: overlay.image_size=32;
# pipelines and position embeddings follow.
_base_ = 'mmpretrain::_base_/default_runtime.py'

model = dict(
    type='amt_mm.ViTClassifier',
    backbone=dict(type='amt_mm.RegisterViT', arch='base', img_size=224, patch_size=16))
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
custom_hooks = [dict(type='amt_mm.ClassCountHook'), dict(type='amt_mm.PredictionsHook')]
randomness = dict(seed=0, diff_rank_seed=True)
