# Linear probing of the encoders of configs/clothing, docs/appendix/results.md. How far LARS moves
# the head depends on the number of steps (here 720), not on the batch size, hence the higher rate.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
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

optim_wrapper = dict(optimizer=dict(lr=20.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=27, begin=3, end=30, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=128)
overlay = dict(image_size=64)
