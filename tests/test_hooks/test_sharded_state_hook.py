"""Checkpoints of a sharded run equal those of a whole one, both ways; unsupported options."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import noise_images
from divided_runs import ADAMW, WHOLE, build, trained, two
from mmengine.optim import OptimWrapper

from amt_mm.errors import InputError
from amt_mm.hooks import ShardedStateHook
from amt_mm.reliability.step_record import read_step

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A whole and a divided run, and some that go on from their second epoch."""
    folder = tmp_path_factory.mktemp('divided')

    def work(rank):
        trained(folder, 'whole', WHOLE)
        trained(folder, 'divided')
        trained(folder, 'resumed', resume='divided/epoch_2.pth')
        trained(folder, 'to_divided', resume='whole/epoch_2.pth')
        trained(folder, 'to_whole', WHOLE, resume='divided/epoch_2.pth')

    two(work, folder)
    return folder


def load(path):
    return torch.load(path, map_location='cpu', weights_only=False)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['divided', 'resumed', 'to_divided', 'to_whole'])
def test_the_same_checkpoint(folder, name):
    whole, other = (load(folder / run / 'epoch_3.pth') for run in ('whole', name))
    assert whole.keys() == other.keys() and other['amt_saliency']['step'] == 2
    assert other['amt_position'] == whole['amt_position']
    assert list(other['state_dict']) == list(whole['state_dict'])
    assert other['optimizer']['param_groups'] == whole['optimizer']['param_groups']
    assert other['optimizer']['state'].keys() == whole['optimizer']['state'].keys()
    begun = load(folder / 'whole/epoch_1.pth')['state_dict']
    for key, value in whole['state_dict'].items():
        got = other['state_dict'][key]
        assert type(got) is type(value)
        if 'qkv.bias' in key:
            # Keys' biases have no gradient but rounding, which Adam makes steps of.
            value, got, old = (torch.cat([part.chunk(3)[0], part.chunk(3)[2]])
                               for part in (value, got, begun[key]))
        else:
            old = begun[key]
        torch.testing.assert_close(got, value, rtol=0, atol=1e-6, msg=key)
        assert 'pos_embed' in key or (old - value).abs().max() > 1e-4
    for index, state in whole['optimizer']['state'].items():
        for key, value in state.items():
            got = other['optimizer']['state'][index][key]
            assert type(got) is type(value)
            torch.testing.assert_close(got, value, rtol=1e-2, atol=1e-5, msg=f'{index} {key}')


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(folder):
    unbroken, resumed = (load(folder / run / 'epoch_3.pth') for run in ('divided', 'resumed'))
    assert all(torch.equal(resumed['state_dict'][key], value)
               for key, value in unbroken['state_dict'].items())
    for index, state in unbroken['optimizer']['state'].items():
        for key, value in state.items():
            assert torch.equal(resumed['optimizer']['state'][index][key], value), (index, key)


@pytest.mark.slow
def test_a_step_that_is_not_finite_stops_all_with_whole_weights_in_the_file(tmp_path):
    def work(rank):
        images = [image.astype(np.float32) for image in noise_images(8)]
        images[5][:] = np.nan
        runner = build(tmp_path, 'run', images=images, epochs=1)
        with pytest.raises(InputError) as stopped:
            runner.train()
        return str(stopped.value), runner.iter

    (line, at), (other, at_other) = two(work, tmp_path)
    assert at == at_other and 'is not finite on rank' in line and 'is not finite on rank' in other
    written, = (tmp_path / 'run/nonfinite').glob('*.pt')
    state = read_step(written)['state_dict']
    assert not any(hasattr(value, 'full_tensor') for value in state.values())
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.slow
def test_a_step_that_may_be_skipped_is_skipped(tmp_path):
    def work(rank):
        images = [image.astype(np.float32) for image in noise_images(8)]
        images[5][:] = np.nan
        trained(tmp_path, 'run', images=images, epochs=1,
                default_hooks=dict(nan_guard=dict(skip=1)))

    two(work, tmp_path)
    checkpoint = load(tmp_path / 'run/epoch_1.pth')
    assert checkpoint['amt_nonfinite'] == {'skipped': 1}
    assert all(value.isfinite().all() for value in checkpoint['state_dict'].values())


@pytest.mark.slow
@pytest.mark.parametrize(('changes', 'line'), [
    (dict(optim=dict(accumulative_counts=2)), 'gradient accumulation'),
    (dict(compiled=True), 'does not support compilation'),
    (dict(optimizer=dict(ADAMW, type='amt_mm.ShardedOptimizer', optimizer_type='AdamW')),
     "already shards the optimiser state"),
    (dict(default_hooks=dict(ema=dict(type='EMAHook'))), 'does not support EMAHook'),
    (dict(default_hooks=dict(average=dict(type='amt_mm.StartAverageHook'))),
     'does not support StartAverageHook'),
], ids=['accumulation', 'compile', 'optimizer', 'ema', 'start average'])
def test_unsupported_options_are_refused(tmp_path, changes, line):
    def work(rank):
        with pytest.raises(InputError, match=line):
            trained(tmp_path, 'run', **changes)

    two(work, tmp_path)
    assert not list(Path(tmp_path).rglob('*.pth'))


def test_loss_scaling_is_refused():
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=1))
    wrapper.loss_scaler = object()  # MMEngine's wrapper of fp16 refuses to be made on a CPU
    with pytest.raises(InputError, match='fp16.*bf16'):
        ShardedStateHook().before_run(SimpleNamespace(optim_wrapper=wrapper))
