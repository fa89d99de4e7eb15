"""A sharded optimiser makes the steps of a whole one, and its checkpoints are the same."""

import json
from pathlib import Path

import pytest
import torch
from torchrun import in_two_real_processes

from amt_mm.engine import ShardedOptimizer
from amt_mm.errors import InputError

SHARDED = dict(type='amt_mm.ShardedOptimizer', optimizer_type='AdamW')
RUNS = [
    dict(name='plain'),
    dict(name='sharded', optimizer=SHARDED),
    # On from each other's checkpoints.
    dict(name='resumed', optimizer=SHARDED, resume='sharded/epoch_1.pth'),
    dict(name='to_sharded', optimizer=SHARDED, resume='plain/epoch_1.pth'),
    dict(name='to_plain', resume='sharded/epoch_1.pth'),
    dict(name='compiled', compile=dict(backend='aot_eager')),
]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """What each process had at the end of each run."""
    folder = tmp_path_factory.mktemp('sharded')
    script = Path(__file__).parent / 'two_processes_sharded.py'
    in_two_real_processes(script, folder, json.dumps(RUNS), timeout=400)
    return folder, {run['name']: [torch.load(folder / f'{run["name"]}_rank{rank}.pt')
                                  for rank in (0, 1)] for run in RUNS}


pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    torch.cuda.is_available(), reason='two processes on the CPU')]


@pytest.mark.parametrize('name', ['sharded', 'resumed', 'to_sharded', 'to_plain', 'compiled'])
def test_the_same_weights_in_every_process(runs, name):
    _, ends = runs
    expected = ends['plain'][0]['weights']
    for end in ends[name]:
        for key, value in expected.items():
            assert torch.equal(end['weights'][key], value), key


def test_each_process_keeps_half_of_the_state(runs):
    _, ends = runs
    whole = ends['plain'][0]['kept']
    parts = [end['kept'] for end in ends['sharded']]
    assert sum(parts) == whole and max(parts) < .6 * whole


def test_two_graphs_under_distributed_training(runs):
    assert [end['graphs'] for end in runs[1]['compiled']] == [2, 2]


def test_checkpoints_hold_the_state_of_all(runs):
    folder, _ = runs
    plain, sharded = (torch.load(folder / name / 'epoch_2.pth', weights_only=False)['optimizer']
                      for name in ('plain', 'sharded'))
    assert plain['state'].keys() == sharded['state'].keys()
    for index, state in plain['state'].items():
        for name, value in state.items():
            assert torch.equal(sharded['state'][index][name], value), (index, name)


def test_one_process_is_refused():
    with pytest.raises(InputError, match='needs several processes'):
        ShardedOptimizer([torch.nn.Parameter(torch.zeros(2))], lr=1e-3)
