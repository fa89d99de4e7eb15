# Mask R-CNN on ViT-B/16 (ViTDet) for LVIS v1, from any encoder; 8 GPUs with 2 images each.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/models/mask-rcnn_vitdet.py',
    '../../_base_/datasets/lvis_v1_lsj_1024.py',
    '../../_base_/schedules/vitdet_75k.py',
    '../../_base_/detection_runtime.py',
]
custom_imports = dict(imports=['amt_mm.detection.with_mmdet'])

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    roi_head=dict(bbox_head=dict(num_classes=1203), mask_head=dict(num_classes=1203)),
    # Many classes have low scores; LVIS counts 300 detections per image.
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
