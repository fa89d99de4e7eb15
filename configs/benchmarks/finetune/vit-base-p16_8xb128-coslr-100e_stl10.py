# Fine-tuning of MAE on STL-10. Table 1 of AMT: MAE 96.5, + AM 97.4, + AMT 97.5.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/finetune.py',
    '../../_base_/datasets/labelled/stl10.py',
]
