"""Whether a file's code may run: never by itself, always when asked for."""

import io
import os

import pytest
import torch
from hostile_checkpoints import by_getattr, hostile

from amt_mm.checkpoints import (
    TRUST,
    checkpoints_are_trusted,
    read_checkpoint,
    read_pickle,
    trust_checkpoints,
)
from amt_mm.errors import InputError

STATE = {'state_dict': {'a': torch.arange(3.)}}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    # Set first, so that what a test sets is taken back.
    monkeypatch.setenv(TRUST, '0')


@pytest.mark.parametrize('inside', [True, False])
def test_code_is_run_where_the_file_is_trusted(tmp_path, inside):
    path = hostile(tmp_path / 'a.pth', tmp_path / 'harm', **STATE)
    trust_checkpoints()
    file = io.BytesIO(path.read_bytes()) if inside else path
    assert torch.equal(read_pickle(file, 'a')['state_dict']['a'], torch.arange(3.))
    assert (tmp_path / 'harm').exists()


def test_trust_reaches_processes_that_are_started():
    assert not checkpoints_are_trusted()
    trust_checkpoints()
    assert checkpoints_are_trusted() and os.environ[TRUST] == '1'


def test_an_environment_that_says_neither(monkeypatch):
    monkeypatch.setenv(TRUST, 'yes')
    with pytest.raises(InputError, match='AMT_MM_TRUST_CHECKPOINT=yes: write 1'):
        checkpoints_are_trusted()


def test_what_torch_is_told_elsewhere_stays(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(STATE, path)
    with torch.serialization.safe_globals([slice]):
        before = set(torch.serialization.get_safe_globals())
        read_pickle(path, path)
        assert set(torch.serialization.get_safe_globals()) == before


def test_attributes_lead_nowhere(tmp_path):
    path = by_getattr(tmp_path / 'a.pth', tmp_path / 'harm')
    with pytest.raises(InputError):
        read_checkpoint(path)
    assert not (tmp_path / 'harm').exists()
