# Fine-tuning on 10 % of the labels of your own class folders.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune_10percent.py',
    '../../_base_/datasets/labelled/folder.py',
]
