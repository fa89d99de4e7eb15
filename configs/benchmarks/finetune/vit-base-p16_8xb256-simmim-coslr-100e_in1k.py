# Fine-tuning of SimMIM on ImageNet-1K. Table 1 of AMT: random 81.5, + AM 81.5, + AMT 80.7.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune_simmim.py',
    '../../_base_/datasets/labelled/imagenet.py',
]
