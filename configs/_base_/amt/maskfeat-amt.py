# AMT on MaskFeat, as an overlay: one more line in `_base_` of a MaskFeat config with a plain ViT.
# Liu, Gui, Luo, "Good helper is around you: Attention-driven Masked Image Modeling", AAAI 2023,
# name MaskFeat as a host but give no ratios for it. Ours: the shares that the paper's 44/26 leaves
# of SimMIM's .60 masked and .40 visible, .73 and .75, applied to MaskFeat's .40 and .60, rounded.
# A BEiTMaskGenerator that stays in the training pipeline makes block masks that nobody reads:
# leave it out, as configs/maskfeat/ does.
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
            throw_ratio=0.25,  # 49 are never computed: 147 of 196 tokens enter
            warmup_mask_ratio=0.40)),  # MaskFeat's own, until the first refresh
    transforms=dict(
        RandomResizedCrop='amt_mm.RandomResizedCropWithBox',
        PackInputs='amt_mm.PackInputsWithBox'),
    hooks=dict(
        saliency=dict(type='amt_mm.SaliencyUpdateHook', begin=40, interval=40)))
