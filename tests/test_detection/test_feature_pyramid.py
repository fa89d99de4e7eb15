"""Strides, widths and layers of the pyramid, against ViTDet's description."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amt_mm.detection import SimpleFeaturePyramid
from amt_mm.errors import InputError


@pytest.mark.parametrize(('patch', 'grid'), [(16, (6, 10)), (8, (12, 8)), (32, (3, 5))], ids=str)
def test_strides_and_widths(patch, grid):
    neck = SimpleFeaturePyramid(24, out_channels=10, patch_size=patch)
    maps = neck((torch.randn(2, 24, *grid),))
    height, width = grid[0] * patch, grid[1] * patch
    assert [tuple(m.shape) for m in maps[:4]] == [
        (2, 10, height // s, width // s) for s in (4, 8, 16, 32)]
    assert torch.equal(maps[4], maps[3][:, :, ::2, ::2])
    sum(m.sum() for m in maps).backward()
    assert all(p.grad is not None for p in neck.parameters())


def norm(x, weight, bias):
    """Layer norm over channels, written out."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return ((x - mean) / (variance + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None])


def test_finest_level_written_out():
    torch.manual_seed(0)
    neck = SimpleFeaturePyramid(24, out_channels=10).double()
    for name, parameter in neck.named_parameters():
        nn.init.normal_(parameter, mean=float(name.endswith('weight') and parameter.ndim == 1))
    x = torch.randn(2, 24, 3, 5, dtype=torch.float64)
    up1, norm1, _, up2, conv1, norm2, conv2, norm3 = neck.levels[0]
    assert up1.out_channels == 12 and up2.out_channels == 6
    wanted = F.conv_transpose2d(x, up1.weight, up1.bias, stride=2)
    wanted = F.gelu(norm(wanted, norm1.weight, norm1.bias))
    wanted = F.conv_transpose2d(wanted, up2.weight, up2.bias, stride=2)
    wanted = norm(F.conv2d(wanted, conv1.weight), norm2.weight, norm2.bias)
    wanted = norm(F.conv2d(wanted, conv2.weight, padding=1), norm3.weight, norm3.bias)
    torch.testing.assert_close(neck((x,))[0], wanted)


def test_other_levels():
    neck = SimpleFeaturePyramid(24)
    kinds = [[type(layer).__name__ for layer in level] for level in neck.levels]
    out = ['Conv2d', 'LayerNorm2d', 'Conv2d', 'LayerNorm2d']
    assert kinds == [['ConvTranspose2d', 'LayerNorm2d', 'GELU', 'ConvTranspose2d', *out],
                     ['ConvTranspose2d', *out], out, ['MaxPool2d', *out]]
    x = torch.randn(1, 24, 4, 6)
    pooled = x.unflatten(2, (2, 2)).unflatten(4, (3, 2)).amax((3, 5))
    torch.testing.assert_close(neck((x,))[3], neck.levels[3][1:](pooled))


def test_autocast():
    neck = SimpleFeaturePyramid(24)
    x = torch.randn(1, 24, 4, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        maps = neck((x,))
    for half, full in zip(maps, neck((x,)), strict=True):
        torch.testing.assert_close(half.float(), full, rtol=.1, atol=.1)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(in_channels=24, patch_size=14), 'model.neck.strides: 4 is not patch_size 14 times'),
    (dict(in_channels=24, patch_size=16, strides=(4, 48)), '48 is not patch_size 16 times'),
    (dict(in_channels=18), 'model.neck.in_channels: 18 is not a multiple of 4')], ids=str)
def test_bad_settings(kwargs, message):
    with pytest.raises(InputError, match=message):
        SimpleFeaturePyramid(**kwargs)


def test_backbone_of_another_width():
    with pytest.raises(InputError, match='in_channels is 24, but the backbone is 12 wide'):
        SimpleFeaturePyramid(24)((torch.randn(1, 12, 4, 4),))
