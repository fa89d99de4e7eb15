"""Views of images: what they are, and that they are the same whoever makes them."""

import torch

from amt_mm.evaluation.label_free import alignment
from amt_mm.evaluation.label_free_features import label_free_measures, random_views


def ramps(count):
    """Images whose red is the row, green the column, blue the image."""
    rows, columns = torch.meshgrid(torch.arange(16.), torch.arange(24.), indexing='ij')
    return torch.stack([torch.stack([rows, columns, torch.full_like(rows, i)])
                        for i in range(count)])


def test_views_are_crops_of_the_image_in_its_own_size():
    views = random_views(ramps(200), torch.arange(200), (0, 1))
    assert views.shape == (200, 3, 16, 24)
    assert torch.allclose(views[:, 2], torch.arange(200.)[:, None, None].expand(-1, 16, 24))
    height = views[:, 0, -1, 0] - views[:, 0, 0, 0]
    width = views[:, 1, 0, -1] - views[:, 1, 0, 0]
    assert (height > 0).all() and 60 < (width < 0).sum() < 140  # a half is flipped
    share = (height + 1) * (width.abs() + 1) / (16 * 24)
    assert .1 < share.min() < .35 and share.max() > .7


def test_a_view_depends_on_seed_and_place_alone():
    images, places = ramps(6), torch.arange(10, 16)
    whole = random_views(images, places, (3, 0))
    assert torch.equal(random_views(images[4:], places[4:], (3, 0)), whole[4:])
    assert not torch.equal(random_views(images, places, (3, 1)), whole)
    assert not torch.equal(random_views(images, places, (4, 0)), whole)


def test_alignment_is_of_two_different_views_and_streams_are_kept():
    images, seen = ramps(5), []

    def encode(change):
        seen.append(change(images, torch.arange(5)))
        return {'mean': seen[-1].flatten(1)}

    state = torch.get_rng_state()
    found = label_free_measures({'mean': images.flatten(1)}, encode, seed=7)
    assert torch.equal(state, torch.get_rng_state())
    assert set(found['mean']) == {'rankme', 'alignment', 'uniformity'} and len(seen) == 2
    assert found['mean']['alignment'] == alignment(*(part.flatten(1) for part in seen)) > 0
