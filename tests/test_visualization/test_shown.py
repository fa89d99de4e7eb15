"""Images as an encoder sees them."""

import numpy as np
from shown_toys import toy_shown


def test_pictures_are_the_pixels_before_normalisation():
    shown = toy_shown()
    assert shown.grid == (5, 7) and shown.cell == 32
    pixels = shown.inputs[1].permute(1, 2, 0).numpy() * [60, 50, 40] + [120, 110, 100]
    picture = shown.images[1]
    assert picture.shape == (160, 224, 3)
    # Enlarged four times: means over squares of four are near the pixels.
    means = picture.reshape(40, 4, 56, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), pixels.clip(0, 255).ravel())[0, 1] > .9


def test_patches_are_filled_with_their_colour():
    colours = np.random.default_rng(0).integers(0, 255, (35, 3), dtype=np.uint8)
    picture = toy_shown().patches(colours)
    assert picture.shape == (160, 224, 3)
    for token in range(35):
        row, column = divmod(token, 7)
        cell = picture[row * 32:(row + 1) * 32, column * 32:(column + 1) * 32]
        assert (cell == colours[token]).all()
