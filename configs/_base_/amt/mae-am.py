# Attention-driven masking alone (AM): AMT's saliency, MAE's ratio, nothing thrown.
_base_ = './mae-amt.py'
overlay = dict(data_preprocessor=dict(mask_generator=dict(mask_ratio=0.75, throw_ratio=0.0)))
