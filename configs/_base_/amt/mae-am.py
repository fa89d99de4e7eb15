# Attention-driven masking without throwing (AM), at MAE's masking ratio.
_base_ = './mae-amt.py'
overlay = dict(data_preprocessor=dict(mask_generator=dict(mask_ratio=0.75, throw_ratio=0.0)))
