# Linear evaluation as in DINO, iBOT and AttMask for ViT-S: frozen backbone, a linear head on the
# concatenated [CLS] tokens of the last 4 blocks, each after the final norm; SGD with momentum .9,
# learning rate .005 per 256 images (AttMask's; DINO's is .001), no weight decay, cosine schedule
# per epoch, 100 epochs, crops (bilinear) and flips only, full precision.
# Another number of blocks: model.backbone.last_blocks=1
_base_ = './training_224px.py'
protocol = 'linear4'

model = dict(
    frozen=True,
    backbone=dict(type='amt_mm.LastBlocksViT', last_blocks=4),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[dict(type='Normal', layer='Linear', std=0.01)]))

train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.04, momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=100, eta_min=0.0, begin=0, end=100)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
# 8 GPUs with 256 images each.
auto_scale_lr = dict(base_batch_size=2048)
