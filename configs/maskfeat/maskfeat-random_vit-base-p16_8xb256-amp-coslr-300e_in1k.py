# Control of AM and AMT: MaskFeat's 40 % masked at random, patch by patch instead of in blocks.
# The paper has no results for MaskFeat, so none are expected.
#   bash tools/dist_train.sh \
#     configs/maskfeat/maskfeat-random_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
_base_ = ['./maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py',
          '../_base_/amt/maskfeat-random.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.pipeline_without_masks))
