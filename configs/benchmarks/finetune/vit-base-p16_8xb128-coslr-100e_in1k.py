# Fine-tuning of MAE on ImageNet-1K. Table 1 of AMT: MAE 82.6, + AM 82.5, + AMT 82.8.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/imagenet.py',
]
