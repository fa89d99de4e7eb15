# A network twice as wide (6 heads), with the same decoder.
_base_ = './mae_vit-mini-p8_clothing_30e.py'

model = dict(
    backbone=dict(arch=dict(embed_dims=384, num_heads=6, feedforward_channels=1536)),
    neck=dict(embed_dim=384))
