# AMT on MaskFeat, as an overlay: add it to `_base_` of a MaskFeat config with a plain ViT.
# Liu, Gui, Luo, "Good helper is around you: Attention-driven Masked Image Modeling", AAAI 2023,
# name MaskFeat as a host but give no ratios for it. For SimMIM the paper's 44/26 keeps .73 of the
# masked share (.60) and .75 of the visible share (.40); the ratios here apply the same factors to
# MaskFeat's .40 and .60, rounded.
# Remove BEiTMaskGenerator from the training pipeline, as configs/maskfeat/ does: its block masks
# are not used.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    model=dict(
        type='amt_mm.AMTMaskFeat',
        backbone=dict(type='amt_mm.AMTMaskFeatViT'),
        target_generator=dict(type='amt_mm.AMTHOGGenerator')),
    data_preprocessor=dict(
        type='amt_mm.AMTDataPreprocessor',
        mask_generator=dict(
            type='amt_mm.AMTMaskGenerator',
            mask_ratio=0.30,  # 58 of 196 patches are predicted
            throw_ratio=0.25,  # 49 are thrown: 147 of 196 tokens are encoded
            warmup_mask_ratio=0.40)),  # MaskFeat's ratio, until the first refresh
    transforms=dict(
        RandomResizedCrop='amt_mm.RandomResizedCropWithBox',
        PackInputs='amt_mm.PackInputsWithBox'),
    hooks=dict(
        saliency=dict(type='amt_mm.SaliencyUpdateHook', begin=40, interval=40)))
