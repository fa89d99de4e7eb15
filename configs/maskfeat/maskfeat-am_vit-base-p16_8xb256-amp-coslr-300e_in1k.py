# MaskFeat + AM: attention-driven masking 40/0, nothing thrown.
# The paper has no results for MaskFeat, so none are expected.
#   bash tools/dist_train.sh \
#     configs/maskfeat/maskfeat-am_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
_base_ = ['./maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/amt/maskfeat-am.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.pipeline_without_masks))
