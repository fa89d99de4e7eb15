# Fine-tuning of SimMIM on STL-10. Table 1 of AMT: random 92.3, + AM 96.5, + AMT 96.5.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune_simmim.py',
    '../../_base_/datasets/labelled/stl10.py',
]
