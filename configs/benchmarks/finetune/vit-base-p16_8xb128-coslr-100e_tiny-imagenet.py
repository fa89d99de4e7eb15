# Fine-tuning of MAE on Tiny ImageNet. Table 1 of AMT: MAE 76.5, + AM 76.3, + AMT 77.8.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/tiny_imagenet.py',
]
