# LVIS v1 from random weights. Table 3 of AMT: box AP 14.6, AP50 24.7, AP75 15.3;
# mask AP 14.3, AP50 23.2, AP75 15.0.
#   bash tools/dist_train.sh THIS_CONFIG 8
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-75k_lvis-v1.py'

default_hooks = dict(pretrained=dict(checkpoint='none'))
