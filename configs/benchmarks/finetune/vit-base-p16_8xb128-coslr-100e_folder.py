# Fine-tuning of MAE on your own class folders.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/folder.py',
]
