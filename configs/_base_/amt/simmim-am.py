# Attention-driven masking without throwing (AM), at SimMIM's masking ratio.
_base_ = './simmim-amt.py'
overlay = dict(data_preprocessor=dict(mask_generator=dict(mask_ratio=0.60, throw_ratio=0.0)))
