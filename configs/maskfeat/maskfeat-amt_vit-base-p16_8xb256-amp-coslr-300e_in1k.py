# MaskFeat + AMT: mask 30 %, throw 25 %; a guided step has .74 of MaskFeat's compute.
# The paper has no results for MaskFeat, so none are expected; on the ratios see the overlay.
#   bash tools/dist_train.sh \
#     configs/maskfeat/maskfeat-amt_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
_base_ = ['./maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/amt/maskfeat-amt.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.pipeline_without_masks))
