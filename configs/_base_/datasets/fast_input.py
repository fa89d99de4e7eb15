# The fast input pipeline, as an overlay: one more line in `_base_` of a baseline whose pipeline is
# LoadImageFromFile, RandomResizedCrop (backend='pillow'), ..., PackInputs: mmpretrain's or ours.
# Same draws and, within rounding, same pixels; see docs/performance.md, "Input pipeline".
# A config with an overlay of its own (configs/_base_/amt) takes the entries of `transforms` into
# its `overlay`, since two bases cannot set one key.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    transforms=dict(
        LoadImageFromFile='amt_mm.ReadImage',
        RandomResizedCrop='amt_mm.DecodeRandomResizedCrop',
        PackInputs='amt_mm.PackInputsWithBox'))
