# Mask R-CNN on ViT-H/16 (ViTDet) for COCO with ViTDet's settings for ViT-H: drop path .5, layer
# decay .9, weight decay on everything, 138,281 iterations of 64 images (75 epochs). ViTDet's own,
# from MAE: box AP 56.7, mask AP 50.2; 31.5 GB of memory per image, less with
# model.backbone.with_cp=True.
#   bash tools/dist_train.sh THIS_CONFIG 64 --pretrained CHECKPOINT
#
# The encoder must have patches of 16 pixels. MAE's ViT-H has 14; ViTDet starts from a copy of it
# with resized patch embeddings, mae_pretrain_vit_huge_p14to16.pth, which loads here.
_base_ = './mask-rcnn_vitdet-l_lsj-1024_64xb1-amp-184k_coco.py'

model = dict(backbone=dict(arch='huge', drop_path_rate=0.5), neck=dict(in_channels=1280))

optim_wrapper = dict(
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        norm_decay_mult=1.0,
        bias_decay_mult=1.0,
        custom_keys={
            '.pos_embed': dict(decay_mult=1.0),
            '.rel_pos_h': dict(decay_mult=1.0),
            '.rel_pos_w': dict(decay_mult=1.0)
        }))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=138281,
        milestones=[122916, 133159],
        gamma=0.1)
]
train_cfg = dict(max_iters=138281, val_interval=12571)
