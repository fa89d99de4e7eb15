# SimMIM: random masking and, as a control with `throw_ratio`, random throwing.
_base_ = './simmim-amt.py'
overlay = dict(
    data_preprocessor=dict(
        mask_generator=dict(
            _delete_=True,
            type='amt_mm.RandomMaskGenerator',
            mask_ratio=0.60,
            throw_ratio=0.0,
            unit=2,
            rounding='ceil')),
    hooks=dict(_delete_=True))
