# COCO from MAE, 400 epochs. Table 3 of AMT: box AP 40.1, AP50 60.3, AP75 43.7;
# mask AP 36.6, AP50 57.6, AP75 39.3.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
