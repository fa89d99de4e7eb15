# UPerNet on ViT-B/16 for ADE20K, from any encoder; 8 GPUs with 2 images each. Published with
# pyramids from 4 blocks: MAE 48.1 (1,600 epochs), iBOT 50.0 mIoU.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../_base_/models/upernet_vitdet.py',
    '../_base_/segmentation_512px.py',
    '../_base_/datasets/labelled/ade20k.py',
]
