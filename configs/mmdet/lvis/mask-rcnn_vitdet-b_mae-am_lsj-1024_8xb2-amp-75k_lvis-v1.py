# LVIS v1 from MAE + AM, 400 epochs. Table 3 of AMT: box AP 26.2, AP50 40.2, AP75 28.3;
# mask AP 25.4, AP50 38.4, AP75 27.1.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-75k_lvis-v1.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae-am_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
