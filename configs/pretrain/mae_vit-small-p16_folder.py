# `amt pretrain FOLDER --size small`: ViT-S/16 at 224 pixels, 22 M parameters; takes a
# GPU.
_base_ = './mae_vit-base-p16_folder.py'

model = dict(
    backbone=dict(arch='deit-small'),
    neck=dict(embed_dim=384, decoder_embed_dim=256, decoder_depth=4, decoder_num_heads=8))
