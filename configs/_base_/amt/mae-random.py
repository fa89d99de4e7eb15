# Control without attention: random masking and, with `throw_ratio`, random throwing.
_base_ = './mae-amt.py'
overlay = dict(
    data_preprocessor=dict(
        mask_generator=dict(
            _delete_=True, type='amt_mm.RandomMaskGenerator', mask_ratio=0.75, throw_ratio=0.0)),
    hooks=dict(_delete_=True))
