# A small MAE for one evening on a laptop: 6 blocks of width 192 on 8x8 patches of 8 pixels,
# 2.7 M parameters; decoder of 2 blocks of width 128, shallow relative to the encoder, as MAE's.
_base_ = 'mmpretrain::_base_/models/mae_vit-base-p16.py'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=64,
        patch_size=8),
    neck=dict(
        patch_size=8, embed_dim=192, decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4,
        num_patches=64),
    head=dict(patch_size=8))
