"""The three hosts at toy size, MAE also with its [CLS] trained; 4 x 6 patches of 8 pixels."""

import copy

import torch
from mmpretrain.registry import MODELS

SIZE, GRID, DEPTH, DECODER_DEPTH = (32, 48), (4, 6), 4, 3
BACKBONE = dict(img_size=SIZE, patch_size=8, arch=dict(
    embed_dims=24, num_layers=DEPTH, num_heads=3, feedforward_channels=48))
PIXELS = dict(type='PixelReconstructionLoss', criterion='L2')
HOSTS = dict(
    mae=dict(
        type='amt_mm.AMTMAE', backbone=dict(type='amt_mm.AMTMAEViT', **BACKBONE),
        neck=dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=16, decoder_num_heads=2,
                  decoder_depth=DECODER_DEPTH),
        head=dict(type='amt_mm.AMTMAEHead', norm_pix=True, loss=PIXELS)),
    simmim=dict(
        type='amt_mm.AMTSimMIM', backbone=dict(type='amt_mm.AMTSimMIMViT', **BACKBONE),
        neck=dict(type='amt_mm.AMTSimMIMDecoder'),
        head=dict(type='amt_mm.AMTSimMIMHead', loss=PIXELS)),
    maskfeat=dict(
        type='amt_mm.AMTMaskFeat', backbone=dict(type='amt_mm.AMTMaskFeatViT', **BACKBONE),
        neck=dict(type='LinearNeck', norm_cfg=None), head=dict(type='MIMHead', loss=PIXELS),
        target_generator=dict(type='amt_mm.AMTHOGGenerator')))
HOSTS['mae_cls'] = dict(HOSTS['mae'], cls_loss_weight=0.7)


def host_config(host, neck=(), **backbone):
    """Config of a host; ``neck`` changes MAE's decoder."""
    cfg = copy.deepcopy(HOSTS[host])
    cfg['backbone'].update(backbone)
    cfg['neck'].update(dict(neck) if host.startswith('mae') else {})
    cfg['data_preprocessor'] = dict(
        type='amt_mm.AMTDataPreprocessor', mask_generator=dict(
            type='amt_mm.AMTMaskGenerator', unit=2 if host == 'simmim' else 1))
    return cfg


def build_host(host, seed=0, **changes):
    """The model in training mode, random everywhere."""
    torch.manual_seed(seed)
    model = MODELS.build(host_config(host, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model.train()
