# Fine-tuning of the encoders of configs/clothing, docs/appendix/results.md: 10 epochs, without
# drop path (a small transformer) and without mixing images (a short schedule).
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/clothing.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        patch_size=8,
        drop_path_rate=0.0),
    train_cfg=None)
train_dataloader = dict(batch_size=128, num_workers=0)
test_dataloader = dict(num_workers=0)
val_dataloader = dict(num_workers=0)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=9,
        eta_min=1e-6,
        begin=1,
        end=10,
        convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=10, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=5))
auto_scale_lr = dict(base_batch_size=128)
overlay = dict(image_size=64)
