# COCO from random weights. Table 3 of AMT: box AP 28.1, AP50 46.1, AP75 29.8;
# mask AP 26.2, AP50 43.5, AP75 27.6.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'

default_hooks = dict(pretrained=dict(checkpoint='none'))
