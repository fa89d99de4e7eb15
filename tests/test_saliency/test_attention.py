import pytest
import torch
from attention_toys import HEADS, PATCH, SIZE, VITS, WIDTH, TimmStyle, images, mmpretrain_vit
from torch import nn

from amt_mm.errors import InputError
from amt_mm.saliency import cls_attention, cls_saliency
from amt_mm.saliency.attention import received_attention


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


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
