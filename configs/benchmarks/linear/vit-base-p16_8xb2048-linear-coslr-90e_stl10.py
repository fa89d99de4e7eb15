# Linear probing on STL-10. Table 1 of AMT: MAE 80.9, + AM 87.1, + AMT 86.8.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/stl10.py',
]
