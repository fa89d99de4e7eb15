"""Labels of patches: the dense formula of DINO, its resizing by PIL, and what has no label."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from amt_mm.evaluation.label_propagation import (
    near_patches,
    patch_labels,
    pixel_labels,
    propagate,
)


def slow_shares(target, sources, labels, grid, radius, neighbours, temperature):
    """Patch by patch: exponentials of all cosines nearby, and of them the largest."""
    width = grid[1]
    shares = []
    for place, token in enumerate(target):
        weights = [(torch.exp(token @ source / temperature), given[other])
                   for frame, given in zip(sources, labels, strict=True)
                   for other, source in enumerate(frame)
                   if max(abs(place // width - other // width),
                          abs(place % width - other % width)) <= radius]
        best = sorted(weights, key=lambda pair: -pair[0])[:neighbours]
        shares.append(sum(weight * given for weight, given in best) / sum(w for w, _ in best))
    return torch.stack(shares)


def test_shares_are_those_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    for grid, radius, neighbours in (((3, 5), 1, 4), ((4, 2), 9, 5), ((1, 2), 0, 7)):
        count = grid[0] * grid[1]
        target = F.normalize(torch.randn(count, 6, generator=generator), dim=1)
        sources = F.normalize(torch.randn(3, count, 6, generator=generator), dim=2)
        labels = torch.rand(3, count, 3, generator=generator)
        found = propagate(target, sources, labels, near_patches(grid, radius), neighbours, .2)
        torch.testing.assert_close(
            found, slow_shares(target, sources, labels, grid, radius, neighbours, .2))


def test_patches_have_the_label_at_their_centre():
    mask = np.random.RandomState(0).randint(0, 5, (23, 37)).astype(np.uint8)
    small = np.asarray(Image.fromarray(mask).resize((7, 4), Image.NEAREST)).ravel()
    # 1 and 4 are not carried, so they are background.
    found = patch_labels(torch.from_numpy(mask), torch.tensor([0, 3, 2]), (4, 7))
    wanted = np.stack([~np.isin(small, (2, 3)), small == 3, small == 2], axis=1)
    np.testing.assert_array_equal(found.numpy(), wanted)


def test_pixels_have_the_largest_share_after_stretching():
    shares = torch.rand(12, 3, generator=torch.Generator().manual_seed(1))
    shares[:, 2] *= .2  # weak everywhere, and stretched as the others are
    maps = F.interpolate(shares.T.reshape(1, 3, 3, 4), scale_factor=8, mode='bilinear')[0].numpy()
    maps = np.stack([(each - each.min()) / (each.max() - each.min()) for each in maps])
    # Sizes at which no pixel is as near to another.
    wanted = Image.fromarray(maps.argmax(axis=0).astype(np.uint8)).resize((192, 80), Image.NEAREST)
    found = pixel_labels(shares, (3, 4), (24, 32), (80, 192))
    np.testing.assert_array_equal(found.numpy(), np.asarray(wanted))
    assert (found == 2).any()


def test_a_label_that_is_everywhere_wins_everywhere():
    for label in range(3):
        shares = torch.zeros(6, 3)
        shares[:, label] = 1
        assert (pixel_labels(shares, (2, 3), (16, 24), (17, 25)) == label).all()
