# Linear evaluation of the encoders of configs/clothing on [CLS] of the last 4 of their 6
# blocks.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear_last4.py',
    '../../_base_/datasets/labelled/clothing.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        patch_size=8))
train_dataloader = dict(batch_size=128, num_workers=0)
test_dataloader = dict(num_workers=0)
val_dataloader = dict(num_workers=0)

optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30, eta_min=0.0, begin=0, end=30)]
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=128)
overlay = dict(image_size=64)
