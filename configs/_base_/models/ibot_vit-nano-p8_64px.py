# The smallest iBOT that still has something to mask: 4 blocks of width 128 on patches of 8 pixels,
# half of the small MAE's width and depth taken together, and a small head. A distilled encoder
# needs many steps before it knows anything; these are cheap.
_base_ = './ibot_vit-small-p16.py'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=64,
        patch_size=8,
        drop_path_rate=0.0),
    head=dict(out_channels=512, hidden_channels=256, bottleneck_channels=64))
