"""The pass that computes attention: what it leaves as it was, where it ends, what it refuses."""

import warnings

import pytest
import torch
from attention_toys import ARCH, HEADS, PATCH, SIZE, VITS, WIDTH, TimmStyle, images
from mmpretrain.models import BEiTViT, VisionTransformer
from timm.models import Eva
from torch import nn

from amt_mm.errors import InputError
from amt_mm.saliency import cls_attention, cls_saliency


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def mixed_modes(vit):
    """Set every third module to evaluation mode; returns the modes by name."""
    vit.train()
    for number, module in enumerate(vit.modules()):
        module.training = number % 3 != 1
    return modes(vit)


def modes(vit):
    return {name: module.training for name, module in vit.named_modules()}


def hooks(vit):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks)
               for module in vit.modules())


@pytest.mark.parametrize('name', ['mmpretrain, dropout', 'timm, q_norm'])
def test_training_modes_are_restored(name):
    # Including modules whose modes differ.
    vit = VITS[name]()
    before = mixed_modes(vit)
    assert {True, False} == set(before.values())
    cls_attention(vit, images())
    assert modes(vit) == before
    assert hooks(vit) == 0
    vit.eval()
    cls_saliency(vit, images())
    assert not any(modes(vit).values())


@pytest.mark.parametrize('name', ['mmpretrain, dropout', 'timm, q_norm'])
def test_training_modes_are_restored_after_an_error(name):
    vit = VITS[name]()
    before = mixed_modes(vit)
    first = (vit.layers if hasattr(vit, 'layers') else vit.blocks)[0]

    def fail(*_):
        raise RuntimeError('out of memory')

    handle = first.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match='out of memory'):
        cls_attention(vit, images())
    handle.remove()
    assert modes(vit) == before
    assert hooks(vit) == 0
    # The model still runs to its end.
    vit(images())


@pytest.mark.parametrize('name', ['mmpretrain', 'timm, q_norm'])
def test_no_gradient_and_no_changed_weights(name):
    vit, inputs = VITS[name](), images().requires_grad_()
    before = {key: value.clone() for key, value in vit.state_dict().items()}
    found = cls_attention(vit, inputs)
    assert torch.is_grad_enabled()
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in vit.parameters())
    assert all(torch.equal(value, before[key]) for key, value in vit.state_dict().items())


def test_dropout_draws_no_random_numbers():
    # A refresh must not affect the random state of training.
    vit = VITS['mmpretrain, dropout']()
    vit.train()
    state = torch.get_rng_state()
    cls_attention(vit, images())
    assert torch.equal(torch.get_rng_state(), state)


def test_stops_before_the_last_block():
    vit = VITS['timm, q_norm']()
    calls = []
    for module in (vit.blocks[0].mlp, vit.blocks[1].attn.proj, vit.blocks[1].mlp, vit.norm):
        module.register_forward_hook(lambda module, *_: calls.append(module))
    cls_attention(vit, images())
    assert calls == [vit.blocks[0].mlp]


def without_cls_token():
    return VisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH, with_cls_token=False,
                             out_type='avg_featmap')


def skipping_its_last_block():
    vit = TimmStyle()
    vit.forward = lambda inputs: vit.blocks[0](vit.patch_embed(inputs).flatten(2).transpose(1, 2))
    return vit


def with_separate_projections():
    vit = TimmStyle()
    vit.blocks[-1].attn.qkv = None
    return vit


@pytest.mark.parametrize('make', [
    without_cls_token, skipping_its_last_block, with_separate_projections,
    lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()),
    lambda: TimmStyle(depth=0)])
def test_unsupported_architecture_is_reported_in_one_line(make):
    vit = make()
    before = mixed_modes(vit)
    with pytest.raises(InputError) as caught:
        cls_attention(vit, images())
    assert '\n' not in str(caught.value)
    assert modes(vit) == before
    assert hooks(vit) == 0


def beit(**kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return BEiTViT(ARCH, img_size=SIZE, patch_size=PATCH, **kwargs)


@pytest.mark.parametrize('make', [
    # A query bias and a relative position bias, both outside `qkv`.
    lambda: beit(use_abs_pos_emb=False, use_rel_pos_bias=True),
    lambda: beit(use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    lambda: Eva(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=1, num_heads=HEADS,
                qkv_bias=False, use_rot_pos_emb=True, rope_type='dinov3')],
    ids=['relative position bias', 'shared relative position bias', 'rotary positions of timm'])
def test_transformers_with_other_attention_are_rejected(make):
    # They must not yield wrong numbers silently.
    with pytest.raises(InputError):
        cls_attention(make(), images())
