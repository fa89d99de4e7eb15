# ViT-S/14 as DINOv2 has it (LayerScale), on photographs of clothes at 112 pixels: 64 patches; 4
# epochs from the weights that a recipe names.
_base_ = './mae_vit-mini-p8_clothing_30e.py'

model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536),
        patch_size=14,
        layer_scale_init_value=1.0),
    neck=dict(patch_size=14, embed_dim=384, decoder_embed_dim=192),
    head=dict(patch_size=14))
overlay = dict(image_size=112)
# Early blocks are trained more slowly than late ones, as in fine-tuning.
optim_wrapper = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75))
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=3, by_epoch=True, begin=1, end=4,
         convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=4)
probe = dict(folds=None)
