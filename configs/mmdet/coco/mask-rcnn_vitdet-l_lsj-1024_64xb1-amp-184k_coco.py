# Mask R-CNN on ViT-L/16 (ViTDet) for COCO with ViTDet's settings for ViT-L: drop path .4, layer
# decay .8, 184,375 iterations of 64 images (100 epochs). ViTDet's own, from MAE: box AP 55.5, mask
# AP 49.2; 20.9 GB of memory per image. 64 GPUs with 1 image each; on fewer add --auto-scale-lr.
#   bash tools/dist_train.sh THIS_CONFIG 64 --pretrained CHECKPOINT
_base_ = './mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.4), neck=dict(in_channels=1024))

train_dataloader = dict(batch_size=1)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
auto_scale_lr = dict(base_batch_size=64)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=184375,
        milestones=[163889, 177546],
        gamma=0.1)
]
train_cfg = dict(max_iters=184375, val_interval=36875)
