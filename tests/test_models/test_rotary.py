"""Rotary positions, compared with complex numbers turned one by one."""

import cmath
import math

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.models import RegisterViT
from amt_mm.models.rotary import RotaryAttention, RotaryPositions

HEAD, OTHERS = 8, 3


def slowly(tokens, grid, others, periods):
    """Turn the pairs of channels (i, i + half) of each patch by the angles of its row or column."""
    turned = tokens.double().clone()
    half = tokens.shape[-1] // 2
    for patch in range(grid[0] * grid[1]):
        row, column = divmod(patch, grid[1])
        places = [-1 + (2 * row + 1) / grid[0], -1 + (2 * column + 1) / grid[1]]
        for channel in range(half):
            axis, number = divmod(channel, half // 2)
            factor = cmath.exp(2j * math.pi * places[axis] / periods[number])
            for vector in turned[..., others + patch, :].view(-1, 2 * half):
                value = complex(vector[channel], vector[channel + half]) * factor
                vector[channel], vector[channel + half] = value.real, value.imag
    return turned


@pytest.mark.parametrize('grid', [(1, 1), (3, 5), (4, 2)])
def test_equals_complex_numbers(grid):
    tokens = torch.randn(2, 3, OTHERS + grid[0] * grid[1], HEAD)
    found = RotaryAttention.rotate(tokens, RotaryPositions(HEAD)(grid, OTHERS))
    # 100 to the power of 0 and 1/2: a quarter of the channels has one period each.
    wanted = slowly(tokens, grid, OTHERS, [1., 10.])
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
    assert torch.equal(found[:, :, :OTHERS], tokens[:, :, :OTHERS])


def test_an_image_of_any_size_has_the_same_frame():
    # The middle of the image, and the first row, are where they were.
    few, many = (RotaryPositions(HEAD)(grid, 0).unflatten(1, grid) for grid in ((1, 3), (3, 9)))
    torch.testing.assert_close(few[:, 0, 1], many[:, 1, 4])


def test_half_precision_is_turned_in_single_precision():
    tokens = torch.randn(1, 2, 6, HEAD).bfloat16()
    rotation = RotaryPositions(HEAD)((2, 3), 0)
    found = RotaryAttention.rotate(tokens, rotation)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, RotaryAttention.rotate(tokens.float(), rotation).bfloat16())


@torch.no_grad()
def test_without_cls_and_registers():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=8)
    vit = RegisterViT(arch, (16, 24), 8, rotary=True, with_cls_token=False, out_type='raw')
    tokens, = vit(torch.randn(2, 3, 16, 24))
    assert tokens.shape == (2, 6, 16)


def test_keys_start_without_bias():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=8)
    vit = RegisterViT(arch, 16, 8, rotary=True)
    vit.init_weights()
    for layer in vit.layers:
        query, key, value = layer.attn.qkv.bias.chunk(3)
        assert key.eq(0).all() and query.any() and value.any()
    # Without biases there is none to leave.
    RegisterViT(arch, 16, 8, rotary=True, qkv_bias=False)(torch.randn(2, 3, 16, 16))


def test_position_embeddings_of_a_state_are_left_alone():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=8)
    plain, rotary = (RegisterViT(arch, 16, 8, rotary=rotary) for rotary in (False, True))
    found = rotary.load_state_dict(plain.state_dict(), strict=False)
    assert found.unexpected_keys == ['pos_embed'] and found.missing_keys == ['rotary.periods']


def test_odd_heads_are_refused():
    arch = dict(embed_dims=18, num_layers=1, num_heads=3, feedforward_channels=8)
    with pytest.raises(InputError, match='a multiple of 4, not 6'):
        RegisterViT(arch, 16, 8, rotary=True)
