# Fine-tuning of MAE on CIFAR-100. Table 1 of AMT: MAE 87.4, + AM 87.3, + AMT 87.8.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/cifar100.py',
]
