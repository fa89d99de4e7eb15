"""PixelEncoder: normalisation, and the feature that is pooled from the tokens."""

import pytest
import torch

import amt_mm.registry  # noqa: F401
from amt_mm.apis.pixel_encoder import PixelEncoder


class _Wrapped(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


@pytest.mark.parametrize(('has_cls', 'pooling', 'first'), [
    (True, 'cls', None), (True, 'mean', 1), (False, 'mean', 0)])
def test_pixels_are_normalised_and_tokens_pooled(has_cls, pooling, first):
    seen = []

    def vit(inputs):
        seen.append(inputs)
        return (torch.arange(2 * 4 * 3.).view(2, 4, 3), )

    mean, std = torch.tensor([1., 2, 3]).view(3, 1, 1), torch.tensor([2., 4, 8]).view(3, 1, 1)
    encoder = PixelEncoder(_Wrapped(vit), mean, std, has_cls, pooling)
    pixels = torch.full((2, 3, 5, 7), 9.)
    tokens, features = encoder(pixels)
    assert seen[0][0, :, 0, 0].tolist() == [4, 7 / 4, 6 / 8]
    for image in range(2):
        rows = [tokens[image, 0]] if first is None else list(tokens[image, first:])
        assert features[image].tolist() == (sum(rows) / len(rows)).tolist()
