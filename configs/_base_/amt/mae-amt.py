# AMT on MAE, as an overlay: add it to `_base_` of any MAE config, of amt_mm or mmpretrain.
# Liu, Gui, Luo, "Good helper is around you: Attention-driven Masked Image Modeling", AAAI 2023.
# How it is merged: amt_mm/config/overlay.py. Settings of your own file override those here.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    model=dict(
        type=dict(MAE='amt_mm.AMTMAE'),
        backbone=dict(type=dict(MAEViT='amt_mm.AMTMAEViT')),
        neck=dict(type=dict(MAEPretrainDecoder='amt_mm.AMTMAEDecoder')),
        head=dict(type=dict(MAEPretrainHead='amt_mm.AMTMAEHead'))),
    data_preprocessor=dict(
        type=dict(SelfSupDataPreprocessor='amt_mm.AMTDataPreprocessor'),
        mask_generator=dict(
            type='amt_mm.AMTMaskGenerator',
            mask_ratio=0.45,  # Table 1, 45/40: 88 of 196 patches are predicted
            throw_ratio=0.40,  # 78 are thrown, 30 stay visible
            warmup_mask_ratio=0.75)),  # MAE's ratio, until the first refresh
    drop=[
        'model.backbone.mask_ratio',  # set in the mask generator
        # Derived from the backbone, so that one option changes its size.
        'model.neck.embed_dim', 'model.neck.num_patches', 'model.neck.patch_size',
        'model.head.patch_size'
    ],
    transforms=dict(
        RandomResizedCrop='amt_mm.RandomResizedCropWithBox',
        PackInputs='amt_mm.PackInputsWithBox'),
    hooks=dict(
        saliency=dict(type='amt_mm.SaliencyUpdateHook', begin=40, interval=40)))
