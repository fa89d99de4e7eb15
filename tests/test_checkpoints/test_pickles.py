"""Code in a file runs only if checkpoints are trusted."""

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
    # Set here, so that it is restored after the test.
    monkeypatch.setenv(TRUST, '0')


@pytest.mark.parametrize('inside', [True, False])
def test_code_is_run_where_the_file_is_trusted(tmp_path, inside):
    path = hostile(tmp_path / 'a.pth', tmp_path / 'harm', **STATE)
    trust_checkpoints()
    file = io.BytesIO(path.read_bytes()) if inside else path
    assert torch.equal(read_pickle(file, 'a')['state_dict']['a'], torch.arange(3.))
    assert (tmp_path / 'harm').exists()


def test_child_processes_inherit_trust():
    assert not checkpoints_are_trusted()
    trust_checkpoints()
    assert checkpoints_are_trusted() and os.environ[TRUST] == '1'


def test_another_value_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv(TRUST, 'yes')
    with pytest.raises(InputError, match='AMT_MM_TRUST_CHECKPOINT=yes: write 1'):
        checkpoints_are_trusted()


def test_other_allowed_classes_of_torch_stay(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(STATE, path)
    with torch.serialization.safe_globals([slice]):
        before = set(torch.serialization.get_safe_globals())
        read_pickle(path, path)
        assert set(torch.serialization.get_safe_globals()) == before


def test_attributes_of_stand_ins_are_inert(tmp_path):
    path = by_getattr(tmp_path / 'a.pth', tmp_path / 'harm')
    with pytest.raises(InputError):
        read_checkpoint(path)
    assert not (tmp_path / 'harm').exists()
