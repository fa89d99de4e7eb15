"""A guide of another size, patch and network: its map against cells that are summed one by one."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from PIL import Image
from torch import nn

from amt_mm.errors import InputError
from amt_mm.evaluation.attention_guide import attention_to_patches, load_guide
from amt_mm.models import RegisterViT

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=24)


@pytest.fixture
def vit():
    """The evaluated one: 5 x 7 patches of 8 pixels."""
    torch.manual_seed(1)
    vit = VisionTransformer(dict(embed_dims=24, num_layers=1, num_heads=3,
                                 feedforward_channels=24), (40, 56), 8, out_type='raw')
    vit.eval()
    return vit


def guide_file(path, size=42, **how):
    """A checkpoint of a transformer with patches of 14 pixels and two registers."""
    torch.manual_seed(2)
    guide = RegisterViT(ARCH, size, 14, out_type='raw', **{'num_registers': 2, **how})
    for parameter in guide.parameters():
        nn.init.normal_(parameter, std=.4)
    guide.eval()
    cfg = Config(dict(model=dict(type='amt_mm.AMTMAE', backbone=dict(
        type='amt_mm.AMTMAEViT', arch=ARCH, patch_size=14, img_size=size))))
    torch.save(dict(state_dict=nn.ModuleDict(dict(backbone=guide)).state_dict(),
                    meta=dict(cfg=cfg.pretty_text)), path)
    return guide


def row(guide, image):
    """[CLS] row of the last block to 3 x 3 patches, mean over heads, from the definition."""
    kept = []
    handle = guide.layers[-1].attn.qkv.register_forward_hook(lambda *given: kept.append(given[2]))
    guide(image[None])
    handle.remove()
    q, k, _ = kept[0][0].unflatten(-1, (3, 2, 8)).unbind(1)  # (1 + 2 + 9, 2, 8) each
    heads = [(k[:, head] @ q[0, head] / math.sqrt(8)).softmax(0)[3:] for head in range(2)]
    return torch.stack(heads).mean(0).view(3, 3).numpy()


@torch.no_grad()
def test_the_guides_map_is_averaged_over_the_patches_of_the_encoder(vit, tmp_path):
    guide = guide_file(tmp_path / 'guide.pth')
    images = torch.randn(3, 3, 40, 56)
    loaded = load_guide(tmp_path / 'guide.pth', vit)
    found = attention_to_patches(vit, images, loaded)
    assert found.shape == (3, 35)
    for image, scores in zip(images, found, strict=True):
        # Pillow resizes one channel of floats at a time, with the same kernel.
        sized = np.stack([np.asarray(Image.fromarray(each.numpy()).resize(
            (42, 42), Image.Resampling.BICUBIC)) for each in image])
        # The map drawn at 20 pixels per encoder's patch: interpolated, then averaged.
        drawn = np.asarray(Image.fromarray(row(guide, torch.from_numpy(sized))).resize(
            (140, 100), Image.Resampling.BILINEAR))
        wanted = drawn.reshape(5, 20, 7, 20).mean(axis=(1, 3)).flatten()
        np.testing.assert_allclose(scores.numpy(), wanted, atol=2e-4)
        assert np.ptp(wanted) > .01


@torch.no_grad()
def test_a_map_of_as_many_patches_is_not_blurred(vit, tmp_path):
    guide = guide_file(tmp_path / 'guide.pth')
    vit = VisionTransformer(dict(embed_dims=24, num_layers=1, num_heads=3,
                                 feedforward_channels=24), 42, 14, out_type='raw')
    images = torch.randn(2, 3, 42, 42)
    found = attention_to_patches(vit, images, load_guide(tmp_path / 'guide.pth', vit))
    np.testing.assert_allclose(found[1].numpy(), row(guide, images[1]).flatten(), atol=1e-6)


def test_the_own_attention_is_another(vit, tmp_path):
    guide_file(tmp_path / 'guide.pth')
    images = torch.randn(2, 3, 40, 56)
    own = attention_to_patches(vit, images)
    other = attention_to_patches(vit, images, load_guide(tmp_path / 'guide.pth', vit))
    assert own.shape == other.shape and not torch.allclose(own, other, atol=1e-3)


def test_what_cannot_guide_is_one_line(vit, tmp_path):
    path = tmp_path / 'guide.pth'
    guide_file(path, num_registers=0, with_cls_token=False)
    with pytest.raises(InputError, match=r'guide.pth: has no \[CLS\] token'):
        load_guide(path, vit)
    guide_file(path, in_channels=4)
    with pytest.raises(InputError, match='guide.pth: the encoder takes 4 channels, the images'):
        load_guide(path, vit)
    guide_file(path, size=40)
    with pytest.raises(InputError, match='image_size=40x40 is not a multiple of the patch of'):
        load_guide(path, vit)
    with pytest.raises(InputError, match='gone.pth'):
        load_guide(tmp_path / 'gone.pth', vit)
