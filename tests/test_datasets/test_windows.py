import numpy as np
import pytest

from amt_mm.datasets.windows import apply_window, check_window
from amt_mm.errors import InputError


def test_a_window_of_ct():
    values = np.array([[[-2000], [-160], [40], [240], [3000]]], np.int16)
    assert apply_window(values, (-160, 240))[0, :, 0].tolist() == [0, 0, 127.5, 255, 255]


def test_each_channel_has_its_own():
    values = np.array([[[5, 50, 500]]], np.uint16)
    assert apply_window(values, [(0, 10), (0, 100), (500, 1000)]).tolist() == [[[127.5, 127.5, 0]]]


def test_levels_of_12_bits_stay_apart():
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64, 1)
    found = apply_window(values, (0, 4095))
    assert found.dtype == np.float32 and len(np.unique(found)) == 4096
    np.testing.assert_allclose(found[:, :, 0], values[:, :, 0] / 4095 * 255, rtol=1e-6)


def test_missing_and_infinite_values():
    values = np.array([[[np.nan], [np.inf], [-np.inf], [.5]]], np.float32)
    assert apply_window(values, (0, 1))[0, :, 0].tolist() == [0, 255, 0, 127.5]


def test_percentiles_of_the_image():
    values = np.random.default_rng(0).normal(size=(40, 50, 2)) * [1, 100]
    found = apply_window(values, {'percentiles': (1, 99)})
    low, high = np.percentile(values[:, :, 1], [1, 99])
    np.testing.assert_allclose(found[:, :, 1], np.clip((values[:, :, 1] - low) / (high - low),
                                                       0, 1) * 255, atol=1e-4)
    assert (found[:, :, 0] == 0).mean() == pytest.approx(.01, abs=.002)


def test_a_constant_channel_has_no_percentiles():
    with pytest.raises(ValueError, match='one value nearly everywhere'):
        apply_window(np.zeros((3, 4, 1)), {'percentiles': (1, 99)})


@pytest.mark.parametrize('window', [None, (0, 1), [0, 4095], [(0, 1), (2, 3)],
                                    {'percentiles': (0, 100)}])
def test_what_is_a_window(window):
    check_window(window, 2)


@pytest.mark.parametrize('window', [
    (1, 1), (2, 1), (0, float('nan')), (0, float('inf')), 5, 'ab', [(0, 1)], [(0, 1)] * 3, (),
    {'percentiles': (-1, 99)}, {'percentiles': (1, 101)}, {'low': 1}, {}, (True, 2), ('0', '1')])
def test_what_is_none(window):
    with pytest.raises(InputError, match=r'pixels\.window=.* low < high'):
        check_window(window, 2)
