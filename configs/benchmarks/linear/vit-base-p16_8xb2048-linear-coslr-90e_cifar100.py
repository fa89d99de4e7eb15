# Linear probing on CIFAR-100. Table 1 of AMT: MAE 65.2, + AM 69.9, + AMT 68.7.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/cifar100.py',
]
