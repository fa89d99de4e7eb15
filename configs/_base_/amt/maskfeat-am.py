# Attention-driven masking without throwing (AM), at MaskFeat's masking ratio.
_base_ = './maskfeat-amt.py'
overlay = dict(data_preprocessor=dict(mask_generator=dict(mask_ratio=0.40, throw_ratio=0.0)))
