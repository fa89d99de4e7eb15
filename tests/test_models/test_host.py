"""Host.token_losses: the loss of each token, for several heads."""

import pytest
import torch

from amt_mm.masking import RandomMaskGenerator


@pytest.mark.parametrize(('criterion', 'norm_pix'), [('L2', True), ('L2', False), ('L1', True)])
@pytest.mark.parametrize('batch', [1, 3])
def test_token_losses_equal_their_formula_and_average_to_the_loss(toy_mae, criterion, norm_pix,
                                                                  batch):
    model = toy_mae(head=dict(norm_pix=norm_pix, loss=dict(type='PixelReconstructionLoss',
                                                           criterion=criterion)))
    images = torch.randn(batch, 3, 40, 56)
    plan = RandomMaskGenerator(.45, .40)(batch, (5, 7))
    assert list(model(images, mode='loss', plan=plan)) == ['loss']
    model.report_token_losses = True
    losses = model(images, mode='loss', plan=plan)
    found = losses['per_token']
    assert found.shape == plan.masked.shape and not found.requires_grad
    patches = model.patchify(images)
    pred = model.predict(model.backbone.encode(patches, plan), plan)
    for b in range(batch):
        for k, token in enumerate(plan.masked[b].tolist()):
            patch = patches[b, token]
            if norm_pix:
                patch = (patch - patch.mean()) / (patch.var() + 1e-6)**.5
            gap = pred[b, k] - patch
            wanted = (gap**2 if criterion == 'L2' else gap.abs()).mean()
            torch.testing.assert_close(found[b, k], wanted.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mean(), losses['loss'].detach())
    # MMEngine sums entries with "loss" in their name, which excludes those of the tokens.
    assert model.parse_losses(losses)[0].item() == pytest.approx(float(losses['loss']))
