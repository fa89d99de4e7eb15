"""block_features: beside timm's intermediate layers, and on encoders without [CLS]."""

import pytest
import torch
from mmpretrain.models import VisionTransformer

from amt_mm.checkpoints import convert
from amt_mm.errors import InputError
from amt_mm.evaluation.block_features import block_features, block_indices

timm = pytest.importorskip('timm')
ARCH = dict(embed_dims=24, num_layers=5, num_heads=3, feedforward_channels=48)


@pytest.fixture
def pair():
    """One transformer of 5 x 7 patches in both libraries, random everywhere."""
    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(
        (40, 56), 8, num_classes=0, embed_dim=24, depth=5, num_heads=3, mlp_ratio=2).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * .3)
    ours = VisionTransformer(ARCH, (40, 56), 8, out_type='raw')
    state = convert(theirs.state_dict(), 'mmpretrain').state
    ours.load_state_dict({key.removeprefix('backbone.'): value for key, value in state.items()})
    ours.eval()
    return ours, theirs


@torch.no_grad()
def test_blocks_and_tokens_are_those_of_timm(pair):
    ours, theirs = pair
    images = torch.randn(3, 3, 40, 56)
    ours.out_indices = [1, 4]
    found = theirs.get_intermediate_layers(images, n=[1, 4], return_prefix_tokens=True, norm=True)
    (first, first_cls), (last, last_cls) = found
    for tokens, parts in (
            ('cls', [first_cls[:, 0], last_cls[:, 0]]), ('mean', [first.mean(1), last.mean(1)]),
            ('both', [first_cls[:, 0], first.mean(1), last_cls[:, 0], last.mean(1)]),
            ('patches', [first, last])):
        expected = torch.cat(parts, dim=-1)
        features = block_features(ours, images, tokens)
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_without_cls_every_token_is_a_patch():
    vit = VisionTransformer(ARCH, (40, 56), 8, out_type='raw', with_cls_token=False)
    vit.eval()
    tokens, = vit(images := torch.randn(2, 3, 40, 56))
    assert torch.equal(block_features(vit, images, 'patches'), tokens)
    torch.testing.assert_close(block_features(vit, images, 'mean'), tokens.sum(1) / 35)


def test_indices(pair):
    assert block_indices(pair[0], [-1, 0, 4, -4]) == [0, 1, 4]
    for wrong in (5, -6):
        with pytest.raises(InputError, match=f'block {wrong}: .* 5 blocks, 0 to 4 or -5 to -1'):
            block_indices(pair[0], [0, wrong])
