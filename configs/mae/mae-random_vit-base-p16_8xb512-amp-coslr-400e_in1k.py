# MAE, random masking 75/0, by the parts of amt_mm: mmpretrain's loss and gradients, for less.
# He et al., CVPR 2022. Recipe and figures of mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py, whose
# model is mmpretrain's own; how much faster: docs/performance.md, "A training step".
#   bash tools/dist_train.sh configs/mae/mae-random_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', '../_base_/amt/mae-random.py']
