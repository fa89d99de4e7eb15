"""The released code's weights: of the map's corner, whatever the crop."""

import torch
from mmpretrain.structures import DataSample

from amt_mm.masking import AMTMaskGenerator
from amt_mm.models import ReleasedWeights


class Maps:
    def __init__(self, maps):
        self.maps = maps

    def lookup(self, indices):
        return self.maps[indices]


def sample(index, box, direction=None):
    one = DataSample()
    one.set_metainfo(dict(sample_idx=index, crop_box=box, flip=direction is not None,
                          flip_direction=direction))
    return one


def test_the_corner_is_stretched_over_any_crop_and_flipped_with_it():
    maps = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(0))
    preprocessor = ReleasedWeights(AMTMaskGenerator())
    preprocessor.store = Maps(maps)
    samples = [sample(1, (0, 0, 1, 1)), sample(1, (.5, .4, .9, .8)), sample(0, (0, 0, 1, 1)),
               sample(0, (.1, .2, .5, .9), 'horizontal'), sample(0, (0, 0, .3, .3), 'diagonal')]
    found = preprocessor.look_up_weights(samples, (4, 6)).unflatten(1, (4, 6))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[3], found[2].flip(1))
    torch.testing.assert_close(found[4], found[2].flip(0, 1))
    # Rows 0 and 1, columns 0 and 1 of the map are the corners of the crop, nothing else is read.
    torch.testing.assert_close(found[2][[0, 0, -1, -1], [0, -1, 0, -1]],
                               maps[0, [0, 0, 1, 1], [0, 1, 0, 1]])


def test_without_maps_there_are_no_weights():
    assert ReleasedWeights(AMTMaskGenerator()).look_up_weights([], (4, 6)) is None
