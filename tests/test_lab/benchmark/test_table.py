"""Tables of a race: medians and shares by hand; a phase that was not timed is a dash."""

import json
import types

import numpy as np
import pytest
import torch

from lab.benchmark.racing import Race
from lab.benchmark.table import result_table, versions, write_race

NAN = float('nan')


@pytest.fixture
def raced():
    # data, preprocess + plan, forward, backward, optimiser
    seconds = np.array([[[NAN, .1, 1, 2, .9], [.5, .1, .5, 1, .4]],
                        [[NAN, .1, 3, 6, .9], [.7, .1, 1.5, 3, .4]],
                        [[NAN, .3, 1, 2, .7], [.3, .1, .8, 1, .1]]])
    contestants = [types.SimpleNamespace(name='a', batch_size=8, multiply_adds=None,
                                         device=torch.device('cpu')),
                   types.SimpleNamespace(name='b', batch_size=8, multiply_adds=5.0)]
    return contestants, Race(seconds, np.array([100., 50., 100.])), [2_000_000_000, 1_500_000_000]


def test_medians_ratios_and_shares(raced):
    first, second = result_table(*raced)
    assert first['step'] == pytest.approx(4) and first['images'] == pytest.approx(2)
    assert (first['step_ratio'], first['network_ratio']) == (1, 1)
    assert second['step_ratio'] == pytest.approx(.5)  # 2/4, 5/10, 2/4
    assert second['network_ratio'] == pytest.approx(.5)  # .5, .5, .6
    assert first['prepare_share'] == pytest.approx(100 * .1 / 4)
    assert first['peak_share'] is None
    # 3 x 5 x 8 multiply-adds in 1.5, 4.5 and 1.8 s at the peaks of their rounds.
    assert second['peak_share'] == pytest.approx(100 * np.median([.8, 120 / 4.5 / 50, 120 / 180]))
    assert (first['memory'], second['data']) == (2, 500)


def test_files_have_every_round_and_a_dash_for_what_was_not_read(raced, tmp_path):
    markdown, data = write_race(tmp_path / 'new' / 'out', *raced, dict(rounds=3))
    lines = markdown.read_text().splitlines()
    assert lines[2].split('|')[1:3] == [' a      ', '      2.0 ']
    assert lines[-2].split()[2:5] == ['|', '–', '|'] or '–' in lines[-2]
    found = json.loads(data.read_text())
    assert found['contestants'][0]['seconds']['data'] == [None] * 3
    assert found['contestants'][1]['seconds']['forward'] == [.5, 1.5, .8]
    assert found['peak_multiply_adds_a_second'] == [100, 50, 100]
    assert found['rounds'] == 3 and found['threads'] == torch.get_num_threads()
    assert found['versions']['torch'] == torch.__version__ and found['device']


def test_versions_of_what_computes():
    assert {'amt_mm', 'python', 'torch', 'mmengine', 'mmpretrain'} <= versions().keys()
