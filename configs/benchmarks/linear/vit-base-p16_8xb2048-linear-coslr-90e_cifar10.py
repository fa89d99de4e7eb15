# Linear probing on CIFAR-10. Table 1 of AMT: MAE 85.2, + AM 89.4, + AMT 88.1.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/cifar10.py',
]
