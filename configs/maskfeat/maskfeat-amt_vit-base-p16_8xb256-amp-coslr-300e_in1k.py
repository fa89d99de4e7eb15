# MaskFeat + AMT: mask 30 %, throw 25 %, at .74 of MaskFeat's arithmetic a guided step.
# The paper has no MaskFeat row, so no figure is expected; the ratios are ours (see the overlay).
#   bash tools/dist_train.sh \
#     configs/maskfeat/maskfeat-amt_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
_base_ = ['./maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/amt/maskfeat-amt.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.pipeline_without_masks))
