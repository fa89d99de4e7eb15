# COCO from MAE + AMT, 400 epochs. Table 3 of AMT: box AP 42.8, AP50 63.0, AP75 47.1;
# mask AP 36.6(*), AP50 60.1, AP75 41.6. (*) Implausible, given AP50 and AP75 (MAE + AM: 38.3).
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

default_hooks = dict(
    pretrained=dict(
        checkpoint='work_dirs/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k/epoch_400.pth'))
