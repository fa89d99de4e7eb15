# AttMask-High from a public encoder on, averaged with it at the end: on photographs of clothes, 2
# epochs of 2 global crops of 84 pixels and 4 local ones of 42. docs/recipes.md has what it brings,
# docs/appendix/recipes.md where the encoder comes from.
_base_ = './ibot-attmask-high_vit-nano-p8_1xb64-coslr-30e_clothing.py'

model = dict(
    backbone=dict(
        arch=dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536),
        img_size=112,
        patch_size=14,
        layer_scale_init_value=1.0))
_pipeline = _base_.train_dataloader.dataset.pipeline
_views = _pipeline[1].transforms
_views[0][0].scale = _views[1][0].scale = 84
_views[2][0].scale = 42
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=_pipeline))
probe = _base_.probe
for _part in (probe.train, *probe.test.datasets):
    _part.pipeline[1].scale = (112, 112)
auto_scale_lr = dict(base_batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, T_max=1, begin=1, end=2,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(interval=1), knn_probe=None)
custom_hooks = [
    dict(type='amt_mm.PretrainedBackboneHook',
         checkpoint='data/dinov2_vit-small-p14.safetensors'),
    dict(type='amt_mm.StartAverageHook')
]
