# UPerNet on ViT-B/16 for your own images and masks, from any encoder; one GPU.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT --auto-scale-lr --cfg-options \
#       overlay.labelled.dataset.data_root=FOLDER overlay.labelled.dataset.num_classes=13
_base_ = [
    '../_base_/models/upernet_vitdet.py',
    '../_base_/segmentation_512px.py',
    '../_base_/datasets/labelled/masks.py',
]

train_dataloader = dict(batch_size=8)
# For some thousand images.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=20000, by_epoch=False)
]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
