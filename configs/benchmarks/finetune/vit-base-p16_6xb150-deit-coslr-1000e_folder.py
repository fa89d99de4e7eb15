# Fine-tuning by DeiT's recipe on your own class folders.
#   bash tools/dist_train.sh THIS_CONFIG 6 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune_deit.py',
    '../../_base_/datasets/labelled/folder.py',
]
