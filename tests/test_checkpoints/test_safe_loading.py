"""MMEngine loads whole checkpoints without running code from them."""

import http.server
import threading
from functools import partial

import mmengine
import numpy as np
import pytest
import torch
from hostile_checkpoints import by_getattr, hostile
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals

from amt_mm.checkpoints import TRUST
from amt_mm.checkpoints.safe_loading import load_as_data
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    # Set here, so that it is restored after the test.
    monkeypatch.setenv(TRUST, '0')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))


@pytest.fixture
def trained(toy_runner, toy_mae):
    runner = toy_runner(epochs=1, kind=OverlayRunner, cfg=dict(model=toy_mae(build=False)),
                        param_scheduler=dict(type='CosineAnnealingLR', T_max=4),
                        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
                        custom_hooks=[dict(type='EMAHook')],
                        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                                           checkpoint=dict(type='CheckpointHook')))
    # Like results of evaluators: numbers and arrays of numpy, of every type.
    for code in '?bhilqBHILQefd':
        runner.message_hub.update_info(f'number_{code}', np.dtype(code).type(1))
        runner.message_hub.update_info(f'array_{code}', np.arange(2).astype(code))
    runner.train()
    return f'{runner.work_dir}/epoch_1.pth'


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, HistoryBuffer):
        return same(one.__dict__, other.__dict__)
    if callable(one):
        return one is other
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and np.array_equal(one, other)


def test_a_checkpoint_of_this_toolbox_is_read_completely(trained):
    whole = torch.load(trained, weights_only=False)
    ours = load_as_data(trained)
    assert whole.keys() >= {'message_hub', 'optimizer', 'param_schedulers', 'ema_state_dict'}
    assert same(ours, whole)
    assert len(ours['message_hub']['log_scalars']['train/loss'].data[0]) == 3
    assert ours['message_hub']['log_scalars']['train/loss'].statistics('mean') > 0


def test_arrays_of_numpy_1(tmp_path):
    path = tmp_path / 'a.pth'
    # The older format is one stream, in which a name may get shorter.
    torch.save({'a': np.arange(3), 'b': np.float64(2)}, path,
               _use_new_zipfile_serialization=False)
    older = path.read_bytes().replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
    path.write_bytes(older)
    assert b'numpy.core' in older and b'numpy._core' not in older
    assert load_as_data(path)['a'].tolist() == [0, 1, 2]


@pytest.fixture
def address(tmp_path):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def by_init_cfg(path):
    model = BaseModule(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()


@pytest.mark.parametrize('make', [hostile, by_getattr])
@pytest.mark.parametrize('load', [
    CheckpointLoader.load_checkpoint, by_init_cfg, lambda path: load_checkpoint(
        torch.nn.Linear(1, 1), str(path))], ids=['loader', 'init_cfg', 'function'])
def test_no_loader_of_mmengine_runs_code(tmp_path, load, make):
    path = make(tmp_path / 'a.pth', tmp_path / 'harm')
    with pytest.raises(InputError, match=r'a\.pth: needs `.+--trust-checkpoint') as error:
        load(str(path))
    assert not (tmp_path / 'harm').exists() and '\n' not in str(error.value)


def test_the_attack_passes_mmengines_own_list(tmp_path):
    path = by_getattr(tmp_path / 'a.pth', tmp_path / 'harm')
    with torch.serialization.safe_globals(get_torch_safe_globals()), pytest.raises(AttributeError):
        torch.load(path, weights_only=True)
    assert (tmp_path / 'harm').exists(), 'else this test shows nothing'


def test_downloads_run_no_code_either(tmp_path, address):
    hostile(tmp_path / 'a.pth', tmp_path / 'harm')
    torch.save({'state_dict': {'b': torch.ones(1)}}, tmp_path / 'b.pth')
    with pytest.raises(InputError, match=r'a\.pth: needs `posix.mkdir`'):
        CheckpointLoader.load_checkpoint(f'{address}/a.pth')
    assert not (tmp_path / 'harm').exists()
    for _ in range(2):  # the second time from the cache
        loaded = CheckpointLoader.load_checkpoint(f'{address}/b.pth', map_location='cpu')
        assert loaded['state_dict']['b'].tolist() == [1]
        (tmp_path / 'b.pth').unlink(missing_ok=True)


def test_a_config_in_a_checkpoint_is_not_run_on_resume(toy_runner, trained, tmp_path):
    content = torch.load(trained, weights_only=False)
    content['meta']['config'] = f'import os\nos.mkdir({str(tmp_path / "harm")!r})'
    torch.save(content, tmp_path / 'b.pth')
    for kind in (OverlayRunner, mmengine.runner.Runner):
        runner = toy_runner(kind.__name__, kind=kind, epochs=2, resume=True,
                            load_from=str(tmp_path / 'b.pth'))
        runner.train()
    assert runner.iter == 6
    assert not (tmp_path / 'harm').exists()


class Record:
    """A record of numpy, by functions that checkpoints may name."""

    def __init__(self, values, fields):
        self.made = np.array([values], fields)

    def __reduce__(self):
        return np._core.multiarray.scalar, (Fields(self.made.dtype), self.made.tobytes())


class Fields:
    """The type of a record."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return np.dtype, (self.kind.descr, False, True)


def test_a_record_in_place_of_a_dictionary_is_refused(tmp_path):
    """One of its values says that it has a config, for which it is asked, and MMEngine runs it."""
    meta = Record((1, 2, f'import os; os.mkdir("{tmp_path}/made")', 'config'),
                  [('epoch', 'i8'), ('iter', 'i8'), ('config', 'U300'), ('name', 'U6')])
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': meta}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='a.pth: its meta is a void, not a dictionary'):
        load_as_data(tmp_path / 'a.pth')


def test_trust_runs_the_code(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, '1')
    path = hostile(tmp_path / 'a.pth', tmp_path / 'harm', state_dict={})
    assert 'extra' in CheckpointLoader.load_checkpoint(str(path))
    assert (tmp_path / 'harm').exists()


@pytest.mark.parametrize('keep', [0, 20, 500, -20])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'a': torch.zeros(300)}}, path)
    path.write_bytes(path.read_bytes()[:keep])
    reason = 'a.pth: (not a checkpoint,|the checkpoint is damaged) or truncated'
    with pytest.raises(InputError, match=reason):
        CheckpointLoader.load_checkpoint(str(path))
