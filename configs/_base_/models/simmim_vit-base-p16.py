# SimMIM on ViT-B/16: absolute positions, LayerScale, one linear layer as decoder (86.4 M
# parameters). mmpretrain has SimMIM for Swin only.
# Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022. The mask is set in
# the overlay: 32 pixels are 2x2 of these tokens.
model = dict(
    type='amt_mm.AMTSimMIM',
    backbone=dict(
        type='amt_mm.AMTSimMIMViT',
        arch='b',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        layer_cfgs=dict(layer_scale_init_value=0.1)),
    neck=dict(type='amt_mm.AMTSimMIMDecoder'),
    head=dict(
        type='amt_mm.AMTSimMIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L1')))
