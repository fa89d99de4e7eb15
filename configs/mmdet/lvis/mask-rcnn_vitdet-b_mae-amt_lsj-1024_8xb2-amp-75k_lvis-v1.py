# LVIS v1 from MAE + AMT, 400 epochs. Table 3 of AMT: box AP 26.9, AP50 41.3, AP75 28.8;
# mask AP 26.0, AP50 39.4, AP75 27.7.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-75k_lvis-v1.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
