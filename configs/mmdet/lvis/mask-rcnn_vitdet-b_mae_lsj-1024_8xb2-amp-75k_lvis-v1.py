# LVIS v1 from MAE, 400 epochs. Table 3 of AMT: box AP 25.0, AP50 38.5, AP75 26.9;
# mask AP 24.2, AP50 37.0, AP75 25.7.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-75k_lvis-v1.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
