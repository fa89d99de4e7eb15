# Mask R-CNN on ViT-B/16 (ViTDet) for COCO, from any encoder; 8 GPUs with 2 images each.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/models/mask-rcnn_vitdet.py',
    '../../_base_/datasets/coco_lsj_1024.py',
    '../../_base_/schedules/vitdet_90k.py',
    '../../_base_/detection_runtime.py',
]
custom_imports = dict(imports=['amt_mm.detection.with_mmdet'])

model = dict(data_preprocessor=dict(pad_size_divisor=1024))
