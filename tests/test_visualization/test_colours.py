import numpy as np

from amt_mm.visualization import apply_colours
from amt_mm.visualization.colours import colour_table, rgb_to_oklab


def test_oklab_of_known_colours():
    # Values from the article that defines OKLab, and from CSS Color 4.
    np.testing.assert_allclose(rgb_to_oklab([255, 255, 255]), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(rgb_to_oklab([255, 0, 0]), [0.62796, 0.22486, 0.12585], atol=1e-4)
    np.testing.assert_allclose(rgb_to_oklab([0, 0, 255]), [0.45201, -0.03246, -0.31153], atol=1e-4)


def test_steps_are_perceptually_equal_and_lightness_increases():
    lab = rgb_to_oklab(colour_table())
    # Eight entries apart, so that rounding to 256 levels does not hide the rest.
    steps = np.linalg.norm(lab[8:] - lab[:-8], axis=1)
    assert steps.min() > 0.8 * steps.max()
    assert (np.diff(lab[::4, 0]) > 0).all()
    assert lab[0, 0] < 0.2 and lab[-1, 0] > 0.95


def test_values_are_clipped_and_keep_their_shape():
    colours = apply_colours(np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.5]]))
    assert colours.shape == (2, 3, 3) and colours.dtype == np.uint8
    assert (colours[0, 0] == colours[0, 1]).all() and (colours[1, 0] == colours[1, 1]).all()
    assert (colours[0, 0] == [13, 10, 38]).all() and (colours[1, 0] == [253, 245, 181]).all()
