"""Gradient checkpointing reduces memory and leaves gradients identical bit for bit."""

import copy

import pytest
import torch
from three_hosts import HOSTS, build_host
from torch.autograd.graph import saved_tensors_hooks

from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator
from amt_mm.models.recompute import enable_recompute
from amt_mm.saliency import cls_saliency

# Dropout and drop path must repeat their draws.
DROPOUT = dict(drop_rate=0.1, drop_path_rate=0.5)


def build(host, with_cp):
    if not with_cp:
        return build_host(host, **DROPOUT)
    return build_host(host, neck=dict(with_cp=True), with_cp=True, **DROPOUT)


def step(model, precision=torch.float32):
    """Run one step; returns loss, gradients and the bytes stored for the backward pass."""
    torch.manual_seed(1)
    images = torch.randn(5, 3, 32, 48)
    plan = AMTMaskGenerator()(5, (4, 6), torch.rand(5, 24))
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with saved_tensors_hooks(keep, lambda tensor: tensor), \
            torch.autocast('cpu', torch.bfloat16, enabled=precision == torch.bfloat16):
        loss, _ = model.parse_losses(model(images, mode='loss', plan=plan))
    loss.backward()
    size = sum(number for address, number in kept.items() if address not in parameters)
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}, size


@pytest.mark.parametrize('precision', [torch.float32, torch.bfloat16], ids=['fp32', 'bf16'])
@pytest.mark.parametrize('host', HOSTS)
def test_gradients_are_identical_bit_for_bit(host, precision):
    loss, gradients, kept = step(build(host, False), precision)
    loss_again, gradients_again, kept_again = step(build(host, True), precision)
    assert torch.equal(loss, loss_again)
    assert gradients.keys() == gradients_again.keys()
    for name, gradient in gradients.items():
        assert (gradient is None) == (gradients_again[name] is None), name
        assert gradient is None or torch.equal(gradient, gradients_again[name]), name
    assert kept_again < kept / 2


def test_gradients_with_registers_and_rotary_positions():
    def rotary(with_cp):
        return build_host('mae', neck=dict(with_cp=with_cp), with_cp=with_cp, num_registers=2,
                          rotary=True, **DROPOUT)

    loss, gradients, kept = step(rotary(False))
    loss_again, gradients_again, kept_again = step(rotary(True))
    assert torch.equal(loss, loss_again)
    for name, gradient in gradients.items():
        assert gradient is None or torch.equal(gradient, gradients_again[name]), name
    assert kept_again < kept / 2


def test_saliency_and_parameter_names_are_unchanged():
    plain, again = build('mae', False), build('mae', True)
    assert list(plain.state_dict()) == list(again.state_dict())
    images = torch.randn(2, 3, 32, 48)
    assert torch.equal(cls_saliency(plain.backbone, images), cls_saliency(again.backbone, images))


def test_copy_uses_its_own_weights():
    """MMEngine's EMAHook copies models."""
    model = build('mae', True)
    twin = copy.deepcopy(model)
    expected = step(model)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(step(twin)[0], expected)


def test_other_blocks_are_rejected():
    with pytest.raises(InputError, match='cannot recompute a Linear'):
        enable_recompute([torch.nn.Linear(2, 2)])
