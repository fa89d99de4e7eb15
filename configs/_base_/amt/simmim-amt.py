# AMT on SimMIM, as an overlay: add it to `_base_` next to models/simmim_vit-base-p16.py.
# Liu, Gui, Luo, "Good helper is around you: Attention-driven Masked Image Modeling", AAAI 2023.
# How it is merged: amt_mm/config/overlay.py. Settings of your own file override those here.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    data_preprocessor=dict(
        type='amt_mm.AMTDataPreprocessor',
        mask_generator=dict(
            type='amt_mm.AMTMaskGenerator',
            mask_ratio=0.44,  # Table 1, 44/26: of 49 units 22 are predicted,
            throw_ratio=0.26,  # 13 are thrown, 14 stay visible
            warmup_mask_ratio=0.60,  # SimMIM's ratio, until the first refresh
            unit=2,  # 32 pixels
            rounding='ceil')),
    transforms=dict(
        RandomResizedCrop='amt_mm.RandomResizedCropWithBox',
        PackInputs='amt_mm.PackInputsWithBox'),
    hooks=dict(
        saliency=dict(type='amt_mm.SaliencyUpdateHook', begin=40, interval=40)))
