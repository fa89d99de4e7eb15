# MAE, random masking 75/0, with amt_mm's classes: mmpretrain's loss and gradients at less cost.
# He et al., CVPR 2022. Recipe and results of mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py, which
# uses mmpretrain's model; how much faster: docs/performance.md, "A training step".
#   bash tools/dist_train.sh configs/mae/mae-random_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', '../_base_/amt/mae-random.py']
