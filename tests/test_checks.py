"""Checks of arguments: one line that names the setting."""

import pytest

from amt_mm.errors import InputError
from amt_mm.registry import HOOKS, LOOPS


@pytest.mark.parametrize('value', [2, .5, 'abc', ['a'], None])
@pytest.mark.parametrize(('loop', 'setting'), [
    ('KNNTestLoop', 'ks'), ('RetrievalTestLoop', 'ks'), ('LowShotTestLoop', 'shots'),
    ('RobustnessTestLoop', 'ratios'), ('RobustnessTestLoop', 'grids'),
    ('LinearSweepTestLoop', 'l2'), ('AttentiveTestLoop', 'lrs'),
    ('AttentiveTestLoop', 'weight_decays')])
def test_what_is_no_list_of_numbers_is_refused(loop, setting, value):
    with pytest.raises(InputError, match=rf'^test_cfg.{setting}=.*: give a list of numbers'):
        LOOPS.get(f'amt_mm.{loop}')(**{setting: value})


def test_a_probe_takes_a_list_of_neighbours():
    with pytest.raises(InputError, match='ks=20: give a list of numbers'):
        HOOKS.build(dict(type='amt_mm.KNNProbeHook', train={}, test={}, ks=20))
