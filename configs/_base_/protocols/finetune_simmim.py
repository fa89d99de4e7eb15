# Fine-tuning as in SimMIM's code for ViT-B: MAE's recipe with learning rate 1.25e-3 per 512 images,
# batch size 2048, 20 warm-up epochs, gradients clipped at 5, and the LayerScale of pre-training.
_base_ = './finetune.py'

model = dict(backbone=dict(layer_scale_init_value=0.1))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=5e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-4, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=80,
        # A share, as SimMIM scales its 1e-6 with the batch. It is that of the head: SimMIM's lower
        # layers share this floor, here it falls by the layer as the rate does.
        eta_min_ratio=1e-6 / 5e-3,
        begin=20,
        end=100,
        convert_to_iter_based=True)
]
auto_scale_lr = dict(base_batch_size=2048)
