# The fast input pipeline, as an overlay: add it to `_base_` of a baseline whose pipeline is
# LoadImageFromFile, RandomResizedCrop (backend='pillow'), ..., PackInputs: mmpretrain's or ours.
# Same random draws and, within rounding, same pixels; see docs/performance.md, "Input pipeline".
# A config with its own overlay (configs/_base_/amt) copies the entries of `transforms` to its
# `overlay`, since two bases cannot set one key.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    transforms=dict(
        LoadImageFromFile='amt_mm.ReadImage',
        RandomResizedCrop='amt_mm.DecodeRandomResizedCrop',
        PackInputs='amt_mm.PackInputsWithBox'))
