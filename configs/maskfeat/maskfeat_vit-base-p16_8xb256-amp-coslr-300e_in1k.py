# MaskFeat as in its paper and mmpretrain: 78 of 196 patches masked in blocks, ViT-B/16, 300 epochs
# on ImageNet-1K.
# Wei et al., "Masked Feature Prediction for Self-Supervised Visual Pre-Training", CVPR 2022.
# Expected: 83.4 fine-tuned on ImageNet-1K (mmpretrain's own run; Liu et al., AAAI 2023, name
# MaskFeat as a host of AMT but report no results). Batch 2048; on other GPU counts add
# --auto-scale-lr.
#   bash tools/dist_train.sh configs/maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
_base_ = 'mmpretrain::maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py'

# The pipeline without block masks, for the configs that mask by a plan.
pipeline_without_masks = [t for t in _base_.train_pipeline if t['type'] != 'BEiTMaskGenerator']

optim_wrapper = dict(optimizer=dict(fused=True))

# `_delete_` removes a `_scope_` entry that would be passed to the function.
train_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
