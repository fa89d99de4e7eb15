"""The fused AdamW of the pre-training configs is AdamW, with all that MMEngine puts around it."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from amt_mm.config import apply_overlay

CONFIGS = Path(__file__).parents[1] / 'configs'
_OTHERS = {'_base_', 'benchmarks', 'mmdet', 'segmentation', 'studies'}
FILES = sorted(path for path in CONFIGS.rglob('*.py') if not _OTHERS & set(path.parts))
MAE = CONFIGS / 'mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'
SIMMIM = CONFIGS / 'simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py'  # clips


@pytest.mark.slow
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_pretraining_has_it(path):
    cfg = apply_overlay(Config.fromfile(path))
    assert cfg.optim_wrapper.optimizer.fused


def build(toy_mae, path, fused):
    model = toy_mae()
    cfg = copy.deepcopy(Config.fromfile(path).optim_wrapper.to_dict())
    cfg.update(type='OptimWrapper')
    cfg.pop('loss_scale')
    cfg['optimizer']['fused'] = fused
    return model, build_optim_wrapper(model, cfg)


@pytest.mark.parametrize('path', [MAE, SIMMIM], ids=['mae', 'simmim'])
def test_the_same_weights_within_rounding(toy_mae, path):
    """Through groups with their own weight decay, clipping and a rate that changes."""
    steps = []
    for fused in (False, True):
        model, wrapper = build(toy_mae, path, fused)
        assert len({group['weight_decay'] for group in wrapper.param_groups}) == 2
        chance = torch.Generator().manual_seed(1)
        for step in range(5):
            for group in wrapper.param_groups:
                group['lr'] = 1e-3 / (1 + step)
            loss = sum((p * torch.randn(p.shape, generator=chance)).sum()
                       for p in model.parameters())
            wrapper.update_params(loss)
        steps.append([p.detach().clone() for p in model.parameters()])
    for start, end in zip(toy_mae().parameters(), steps[1], strict=True):
        assert torch.equal(start, end) != start.requires_grad  # positions are fixed
    for plain, fused in zip(*steps, strict=True):
        torch.testing.assert_close(fused, plain, rtol=2e-6, atol=2e-6)


def test_under_a_gradient_scaler(toy_mae):
    """Dynamic scaling with clipping, as in fp16; a step with an infinite gradient is skipped."""
    ends = []
    for fused in (False, True):
        model, wrapper = build(toy_mae, SIMMIM, fused)
        scaler = torch.amp.GradScaler(device='cpu', init_scale=1024.)
        chance, parameters = torch.Generator().manual_seed(1), list(model.parameters())
        for step in range(4):
            scale = float('inf') if step == 2 else 1.
            loss = sum((p * torch.randn(p.shape, generator=chance)).sum() for p in parameters)
            wrapper.zero_grad()
            scaler.scale(loss * scale).backward()
            if step != 1:  # without clipping the scaler leaves unscaling to the fused kernel
                scaler.unscale_(wrapper.optimizer)
                torch.nn.utils.clip_grad_norm_(parameters, 5.)
            before = parameters[0].detach().clone()
            scaler.step(wrapper.optimizer)
            scaler.update()
            assert torch.equal(before, parameters[0]) == (step == 2)
        assert scaler.get_scale() == 512
        ends.append([p.detach().clone() for p in parameters])
    for plain, fused in zip(*ends, strict=True):
        torch.testing.assert_close(fused, plain, rtol=2e-6, atol=2e-6)
