import warnings

import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import pytest
import torch
from mmpretrain.models import BEiTViT, DistilledVisionTransformer, VisionTransformer
from timm.models import Eva
from timm.models import VisionTransformer as TimmViT
from torch import nn

from amt_mm.errors import InputError
from amt_mm.models import RegisterViT
from amt_mm.saliency import cls_attention, cls_saliency
from amt_mm.saliency.attention import received_attention

HEADS, WIDTH, PATCH, SIZE = 3, 24, 8, (40, 56)  # grid 5 x 7
ARCH = dict(embed_dims=WIDTH, num_layers=3, num_heads=HEADS, feedforward_channels=32)


class Attention(nn.Module):
    """Self-attention with timm's attributes."""

    def __init__(self, width, heads, qk_norm, bias):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        make = nn.LayerNorm if qk_norm else nn.Identity
        self.q_norm = make(width // heads) if qk_norm else make()
        self.k_norm = make(width // heads) if qk_norm else make()
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (part.reshape(batch, tokens, self.num_heads, -1).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=-1))
        x = nn.functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):

    def __init__(self, width, heads, qk_norm, bias):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, qk_norm, bias)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Dropout(.5),
                                 nn.Linear(32, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmStyle(nn.Module):
    """A transformer with timm's names: `blocks`, `norm1`, `q_norm`."""

    def __init__(self, depth=2, width=WIDTH, heads=HEADS, patch=PATCH, grid=(5, 7), qk_norm=True,
                 bias=True):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], width))
        self.pos_drop = nn.Dropout(.5)
        self.blocks = nn.Sequential(*[Block(width, heads, qk_norm, bias) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(self.pos_drop(x)))[:, 0]


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def randomize(vit):
    """Add weights large enough that attention is far from uniform."""
    with torch.no_grad():
        for parameter in vit.parameters():
            scale = .5 if parameter.ndim == 1 else 1.5 / parameter[0].numel()**.5
            parameter.add_(torch.randn_like(parameter) * scale)
    return vit


def mmpretrain_vit(**kwargs):
    return randomize(VisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH, **kwargs))


def images(batch=2, seed=1):
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def turned(tokens):
    """Queries or keys of 35 patches, turned by the angles of DINOv3 as complex numbers."""
    row, column = torch.meshgrid(torch.arange(5.), torch.arange(7.), indexing='ij')
    places = [(2 * row.flatten() - 4) / 5, (2 * column.flatten() - 6) / 7]
    angles = torch.stack([2 * torch.pi * place / period for place in places
                          for period in (1., 10.)], dim=1)  # (35, 4)
    others, patches = tokens[:, :, :-35], tokens[:, :, -35:]
    values = torch.complex(*patches.chunk(2, dim=-1)) * torch.exp(1j * angles.double())
    return torch.cat([others, torch.cat([values.real, values.imag], dim=-1)], dim=2)


def explicit(vit, inputs):
    """Full attention matrix of the last block, (B, heads, 1 + N, 1 + N), in float64.

    From a complete pass in evaluation mode; q and k are taken from the output of the block's qkv.
    """
    modes = {module: module.training for module in vit.modules()}
    attn = (vit.layers if hasattr(vit, 'layers') else vit.blocks)[-1].attn
    seen = []
    handle = attn.qkv.register_forward_hook(lambda module, args, output: seen.append(output))
    vit.eval()
    with torch.no_grad():
        vit(inputs)
        handle.remove()
        (qkv, ) = seen
        batch, tokens, _ = qkv.shape
        q, k, _ = qkv.reshape(batch, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        if hasattr(attn, 'q_norm'):
            q, k = attn.q_norm(q), attn.k_norm(k)
        q, k = q.double(), k.double()
        if getattr(vit, 'rotary', None) is not None:
            q, k = turned(q), turned(k)
        matrix = torch.empty(batch, attn.num_heads, tokens, tokens, dtype=torch.float64)
        for head in range(attn.num_heads):
            logits = torch.einsum('bid,bjd->bij', q[:, head], k[:, head]) / q.shape[-1]**.5
            exponent = (logits - logits.amax(dim=-1, keepdim=True)).exp()
            matrix[:, head] = exponent / exponent.sum(dim=-1, keepdim=True)
    for module, mode in modes.items():
        module.training = mode
    return matrix


def timm_with_registers():
    vit = TimmViT(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=HEADS,
                  reg_tokens=2)
    return randomize(vit)


VITS = {
    'mmpretrain': mmpretrain_vit,
    'mmpretrain, dropout': lambda: mmpretrain_vit(drop_rate=.5, drop_path_rate=.5),
    'mmpretrain, mean of patches': lambda: mmpretrain_vit(out_type='avg_featmap'),
    'mmpretrain, layer scale, no bias': lambda: mmpretrain_vit(
        qkv_bias=False, layer_scale_init_value=.1),
    'timm': lambda: randomize(TimmStyle(qk_norm=False)),
    'timm, q_norm': lambda: randomize(TimmStyle()),
    'registers': lambda: randomize(
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=3)),
    'rotary, registers': lambda: randomize(
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=3, rotary=True)),
    'timm, registers': timm_with_registers,
    # One token in addition to [CLS] and patches.
    'distillation token': lambda: randomize(
        DistilledVisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH)),
    'timm, no bias, one block': lambda: randomize(TimmStyle(depth=1, bias=False))}


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('name', VITS)
def test_equals_the_explicit_softmax(name, batch):
    # Three heads, patch 8, 5 x 7 tokens, in a model in training mode.
    vit, inputs = VITS[name](), images(batch)
    vit.train()
    found = cls_attention(vit, inputs)
    assert found.shape == (batch, HEADS, 35)
    assert found.dtype == torch.float32
    wanted = explicit(vit, inputs)
    torch.testing.assert_close(found.double(), wanted[:, :, 0, -35:], rtol=1e-4, atol=1e-6)
    # The softmax includes the columns of [CLS] and registers, which are removed afterwards.
    others = wanted[:, :, 0, :-35].sum(dim=-1)
    torch.testing.assert_close(found.double().sum(dim=-1), 1 - others, rtol=0, atol=1e-5)
    assert wanted[:, :, 0, 0].max() > 1e-3
    assert found.std() > .003, 'attention is nearly uniform'


def test_attention_received_by_rotated_keys():
    vit, inputs = VITS['rotary, registers'](), images(2)
    wanted = explicit(vit, inputs).mean(dim=2)[:, :, -35:]
    torch.testing.assert_close(received_attention(vit, inputs).double(), wanted, rtol=1e-4,
                               atol=1e-6)


@pytest.mark.parametrize('name', ['mmpretrain', 'timm, q_norm'])
def test_saliency_is_mean_over_heads_then_min_max(name):
    # The [CLS] column is removed before min-max, AMT's eq. 4.
    vit, inputs = VITS[name](), images(3)
    row = explicit(vit, inputs)[:, :, 0, 1:].mean(dim=1)
    low, high = row.amin(dim=1, keepdim=True), row.amax(dim=1, keepdim=True)
    found = cls_saliency(vit, inputs)
    torch.testing.assert_close(found.double(), (row - low) / (high - low), rtol=0, atol=1e-4)
    assert found.amin(dim=1).tolist() == [0] * 3
    assert found.amax(dim=1).tolist() == [1] * 3


def test_saliency_by_head_normalizes_first():
    vit, inputs = mmpretrain_vit(), images(2)
    rows = explicit(vit, inputs)[:, :, 0, 1:]
    low, high = rows.amin(dim=2, keepdim=True), rows.amax(dim=2, keepdim=True)
    found = cls_saliency(vit, inputs, normalize='head')
    torch.testing.assert_close(found.double(), ((rows - low) / (high - low)).mean(dim=1), rtol=0,
                               atol=1e-4)
    assert (found - cls_saliency(vit, inputs)).abs().max() > .01


def test_unknown_normalization_is_rejected():
    with pytest.raises(InputError, match="normalize='max'"):
        cls_saliency(mmpretrain_vit(), images(), normalize='max')


@pytest.mark.parametrize('normalize', ['map', 'head'])
def test_image_that_is_not_finite_affects_only_its_own_map(normalize):
    vit, inputs = mmpretrain_vit(), images(3)
    wanted = cls_saliency(vit, inputs, normalize)
    inputs[1, 0, 20, 20] = float('nan')
    found = cls_saliency(vit, inputs, normalize)
    assert found[1].tolist() == [0] * 35
    torch.testing.assert_close(found[[0, 2]], wanted[[0, 2]])


def test_uniform_attention_becomes_zeros():
    vit = mmpretrain_vit()
    with torch.no_grad():
        vit.layers[-1].attn.qkv.weight[:WIDTH] = 0
        vit.layers[-1].attn.qkv.bias[:WIDTH] = 0
    attention = cls_attention(vit, images())
    assert attention.tolist() == torch.full_like(attention, 1 / 36).tolist()
    assert cls_saliency(vit, images()).abs().max() == 0


def exact_in_bfloat16():
    """A block whose queries and keys are small integers, exact in any precision."""
    vit = TimmStyle(depth=1, qk_norm=False, bias=False)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        vit.patch_embed.weight.zero_()
        vit.patch_embed.bias.zero_()
        vit.blocks[0].attn.qkv.weight.zero_()
        places = torch.randperm(3 * PATCH**2, generator=generator)[:WIDTH]
        vit.patch_embed.weight.view(WIDTH, -1)[torch.arange(WIDTH), places] = 1
        vit.cls_token[:] = torch.randint(-1, 2, (WIDTH, ), generator=generator)
        for row in range(2 * WIDTH):
            vit.blocks[0].attn.qkv.weight[row, (5 * row + 3) % WIDTH] = 1
    vit.blocks[0].norm1 = nn.Identity()
    return vit, torch.randint(-1, 2, (2, 3, *SIZE), generator=generator).float()


def test_the_softmax_is_fp32_under_autocast():
    # Queries and keys are exact in bfloat16, so any difference comes from the softmax.
    vit, inputs = exact_in_bfloat16()
    wanted = explicit(vit, inputs)[:, :, 0, 1:]
    with torch.autocast('cpu', torch.bfloat16):
        found = cls_attention(vit, inputs)
        half = nn.functional.linear(inputs, torch.eye(SIZE[1]))
        saliency = cls_saliency(vit, inputs)
    assert half.dtype == torch.bfloat16, 'autocast is off'
    assert found.dtype == saliency.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-8)
    assert (wanted.bfloat16().double() / wanted - 1).abs().max() > 1e-3, 'bfloat16 is exact here'


@pytest.mark.parametrize('name', ['mmpretrain', 'timm, q_norm'])
def test_autocast_on_random_weights_changes_little(name):
    vit, inputs = VITS[name](), images()
    with torch.autocast('cpu', torch.bfloat16):
        found = cls_attention(vit, inputs)
    assert found.dtype == torch.float32
    wanted = explicit(vit, inputs)[:, :, 0, 1:]
    assert torch.corrcoef(torch.stack([found.double().flatten(), wanted.flatten()]))[0, 1] > .98


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
