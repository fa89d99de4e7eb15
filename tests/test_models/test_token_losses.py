"""Loss of each masked token: its mean is the loss, for every host."""

import pytest
import torch
from mmpretrain.registry import MODELS

from amt_mm.masking import RandomMaskGenerator

ARCH = dict(embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24)
SIZE = dict(img_size=(32, 48), patch_size=8)
PREPROCESSOR = dict(type='amt_mm.AMTDataPreprocessor',
                    mask_generator=dict(type='amt_mm.RandomMaskGenerator'))
HOSTS = {
    'mae': dict(
        type='amt_mm.AMTMAE', backbone=dict(type='amt_mm.AMTMAEViT', arch=ARCH, **SIZE),
        neck=dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=16, decoder_depth=1,
                  decoder_num_heads=2),
        head=dict(type='amt_mm.AMTMAEHead', norm_pix=True,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2'))),
    'simmim': dict(
        type='amt_mm.AMTSimMIM', backbone=dict(type='amt_mm.AMTSimMIMViT', arch=ARCH, **SIZE),
        neck=dict(type='amt_mm.AMTSimMIMDecoder'),
        head=dict(type='amt_mm.AMTSimMIMHead',
                  loss=dict(type='PixelReconstructionLoss', criterion='L1'))),
    'maskfeat': dict(
        type='amt_mm.AMTMaskFeat', backbone=dict(type='amt_mm.AMTMaskFeatViT', arch=ARCH, **SIZE),
        neck=dict(type='LinearNeck'),
        target_generator=dict(type='amt_mm.AMTHOGGenerator'),
        head=dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2'))),
}


@pytest.mark.parametrize('name', HOSTS)
def test_mean_over_tokens_is_the_loss_of_the_host(name):
    torch.manual_seed(0)
    model = MODELS.build({**HOSTS[name], 'data_preprocessor': PREPROCESSOR})
    model.init_weights()
    images = torch.randn(3, 3, 32, 48)
    plan = RandomMaskGenerator(.5)(3, (4, 6))
    patches = model.patchify(images)
    pred = model.predict(model.backbone.encode(patches, plan), plan)
    target = model.target(images, patches, plan)
    losses = model.token_losses(pred, target)
    assert losses.shape == (3, 12) and not losses.requires_grad
    assert losses.mean().item() == pytest.approx(model.head.loss(pred, target).item(), rel=1e-5)
    # The prediction of a token affects only its own loss.
    moved = pred.detach().clone()
    moved[1, 4] += 1
    changed = model.token_losses(moved, target) != losses
    assert changed.sum() == 1 and changed[1, 4]
