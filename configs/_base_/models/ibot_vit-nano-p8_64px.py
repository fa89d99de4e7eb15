# The smallest iBOT that still has something to mask: 4 blocks of width 128 on patches of 8 pixels,
# and a small head; width times depth is about half that of the small MAE. A distilled encoder
# needs many steps before it learns anything, so steps must be cheap.
_base_ = './ibot_vit-small-p16.py'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=64,
        patch_size=8,
        drop_path_rate=0.0),
    head=dict(out_channels=512, hidden_channels=256, bottleneck_channels=64))
