"""Operations that wait for the device are counted by place; torch's mode is put back."""

import warnings

import pytest
import torch

from lab.gpu_check.check import Failed
from lab.gpu_check.waiting import check_waiting, waits


@pytest.fixture
def modes(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', seen.append)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    return seen


def wait(times):
    for _ in range(times):
        warnings.warn('called a synchronizing CUDA operation (Triggered internally)', stacklevel=1)
    warnings.warn('something else', stacklevel=1)


def test_they_are_counted_and_others_are_not(modes):
    found = waits(lambda: wait(3))
    assert list(found.values()) == [3]
    assert next(iter(found)).startswith(f'{__file__}:')
    assert modes == ['warn', 'default']


def test_the_mode_is_put_back_after_an_error(modes):
    with pytest.raises(ZeroDivisionError):
        waits(lambda: 1 / 0)
    assert modes[-1] == 'default'


def test_a_step_that_waits_has_failed(modes):
    with pytest.raises(Failed, match=f'2 operations wait for the device, the most at {__file__}'):
        check_waiting(lambda: wait(2))
    assert check_waiting(lambda: wait(0)) == {'outcome': 'no operation waits'}


def test_what_the_first_step_alone_does_is_no_wait(modes):
    left = [5]
    assert check_waiting(lambda: wait(left.pop() if left else 0))['outcome'] == 'no operation waits'


def test_without_a_gpu_nothing_is_said_of_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert check_waiting(None) == {'outcome': 'skipped: needs a GPU'}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_torch_tells():
    tensor = torch.ones(3, device='cuda')
    assert waits(lambda: tensor.sum().item()).total() == 1
    assert not waits(lambda: tensor * 2)
