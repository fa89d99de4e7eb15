# Fine-tuning by DeiT's recipe, as AttMask's code transfers to small data sets: no layer decay,
# learning rate 7.5e-6 per 512 images, every image three times in a batch of all processes (repeated
# augmentation), random erasing .25, 1,000 epochs (its README: Flowers; 500 for CIFAR). Without the
# moving average of weights, which DeiT's code also measures.
_base_ = './finetune.py'
protocol = 'finetune-deit'

train_dataloader = dict(batch_size=150, sampler=dict(_delete_=True, type='RepeatAugSampler'))
optim_wrapper = dict(
    optimizer=dict(lr=7.5e-6 * 900 / 512), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / (7.5e-6 * 900 / 512), end=5,
         convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=995,
        # DeiT's 1e-5, for fewer images a step in proportion to the rate.
        eta_min_ratio=1e-5 / (7.5e-6 * 900 / 512),
        begin=5,
        end=1000,
        convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=1000, val_interval=50)
# 6 GPUs with 150 images each.
auto_scale_lr = dict(base_batch_size=900)
