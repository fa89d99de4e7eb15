# COCO from MAE + AM, 400 epochs. Table 3 of AMT: box AP 42.2, AP50 62.6, AP75 46.3;
# mask AP 38.3, AP50 59.7, AP75 41.4.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae-am_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
