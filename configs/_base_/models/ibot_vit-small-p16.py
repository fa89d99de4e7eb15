# iBOT with ViT-S/16 (Zhou et al., ICLR 2022), as AttMask trains it. Masks are block-wise,
# as in iBOT; model.masking.strategy selects random, high, hint, low or sampled masks. To continue
# training from weights of iBOT, AttMask or DINO, set model.backbone.interpolate_offset=0.1, as in
# their code.
model = dict(
    type='amt_mm.IBOT',
    backbone=dict(
        type='amt_mm.IBOTViT', arch='deit-small', img_size=224, patch_size=16,
        drop_path_rate=0.1),
    head=dict(
        type='amt_mm.DistillationHead', out_channels=8192, hidden_channels=2048,
        bottleneck_channels=256),
    masking=dict(type='amt_mm.CropMasking', strategy='block', ratio=(0.1, 0.5), gate=0.5))
