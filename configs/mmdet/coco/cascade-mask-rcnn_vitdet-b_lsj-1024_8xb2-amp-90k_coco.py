# Cascade Mask R-CNN on ViT-B/16 (ViTDet) for COCO, from any encoder; 8 GPUs with 2 images each.
# ViTDet's own (100 epochs of batches of 64, from MAE): box AP 54.0, mask AP 46.7.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
#
# Three box heads in a row, each on the boxes of the last, as cascade_mask_rcnn_vitdet_b_100ep in
# ViTDet's code. As mmdet has it, a mask head goes with each of them, and tests average the three;
# ViTDet has one. Other classes: num_classes of all six.
_base_ = './mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

box_head = dict(
    type='Shared4Conv1FCBBoxHead',
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    norm_cfg=_base_.norm_cfg,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='L1Loss', loss_weight=1.0))
stage = dict(
    assigner=dict(type='MaxIoUAssigner', match_low_quality=False, ignore_iof_thr=-1),
    sampler=dict(
        type='RandomSampler',
        num=512,
        pos_fraction=0.25,
        neg_pos_ub=-1,
        add_gt_as_proposals=True),
    mask_size=28,
    pos_weight=-1,
    debug=False)

model = dict(
    type='CascadeRCNN',
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        # detectron2 divides the gradient of what the stages share by their number.
        stage_loss_weights=[1 / 3, 1 / 3, 1 / 3],
        bbox_head=[
            # Deviations of the offsets: detectron2 multiplies by weights of 10, 5; 20, 10; 30, 15.
            dict(
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder',
                    target_means=[0., 0., 0., 0.],
                    target_stds=[1 / at, 1 / at, 1 / size, 1 / size]),
                **box_head) for at, size in ((10, 5), (20, 10), (30, 15))
        ]),
    train_cfg=dict(
        rcnn=[
            dict(
                stage,
                assigner=dict(stage['assigner'], pos_iou_thr=iou, neg_iou_thr=iou, min_pos_iou=iou))
            for iou in (0.5, 0.6, 0.7)
        ]))
