# A small iBOT for one evening on a laptop: 6 blocks of width 192 on 8x8 patches of 8 pixels, as the
# small MAE beside it, and a small head.
_base_ = './ibot_vit-small-p16.py'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=64,
        patch_size=8),
    head=dict(out_channels=1024, hidden_channels=512, bottleneck_channels=128))
