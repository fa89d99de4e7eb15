"""Features that one run writes and another reads."""

import errno
import os

import pytest
import torch

from amt_mm.evaluation import shared_features as module
from amt_mm.evaluation.dataset_features import LabelledFeatures
from amt_mm.evaluation.shared_features import shared_features

FEATURES = LabelledFeatures({'cls': torch.randn(7, 3), 'mean': torch.randn(7, 3)},
                            torch.arange(7) % 2, ('cat', 'dog'))


def unwanted():
    raise AssertionError('encoded once more')


def assert_the_same(found, expected=FEATURES):
    assert found.names == expected.names and found.features.keys() == expected.features.keys()
    assert torch.equal(found.labels, expected.labels)
    for name, values in expected.features.items():
        assert torch.equal(found.features[name], values)


@pytest.mark.parametrize('names', [('cat', 'dog'), None])
def test_the_second_run_reads_what_the_first_wrote(tmp_path, names):
    features = LabelledFeatures(FEATURES.features, FEATURES.labels, names)
    assert shared_features(tmp_path / 'test images.pth', lambda: features) is features
    assert_the_same(shared_features(tmp_path / 'test images.pth', unwanted), features)
    assert len(list(tmp_path.iterdir())) == 1


def test_runs_at_the_same_time_do_not_write_into_each_others_file(tmp_path, monkeypatch):
    save, others, written = torch.save, [lambda: FEATURES], []

    def slowly(content, file):
        written.append(file)
        if others:  # another run, which encoded at the same time, writes all of its own
            shared_features(tmp_path / 'x.pth', others.pop())
        save(content, file)

    monkeypatch.setattr(module.torch, 'save', slowly)
    assert shared_features(tmp_path / 'x.pth', lambda: FEATURES) is FEATURES
    assert len(set(written)) == 2
    assert_the_same(shared_features(tmp_path / 'x.pth', unwanted))
    assert [file.name for file in tmp_path.iterdir()] == ['x.pth']


def test_nothing_is_written_to_a_folder_that_is_gone(tmp_path):
    assert shared_features(tmp_path / 'gone/x.pth', lambda: FEATURES) is FEATURES
    assert not (tmp_path / 'gone').exists()


def test_a_full_disk_costs_time_and_is_said(tmp_path, monkeypatch):
    said = []

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.torch, 'save', full)
    monkeypatch.setattr(module.MMLogger, 'get_current_instance',
                        lambda: type('Log', (), dict(warning=staticmethod(said.append))))
    assert shared_features(tmp_path / 'x.pth', lambda: FEATURES) is FEATURES
    assert not any(tmp_path.iterdir())
    assert 'could not be saved: No space left' in said[0] and 'once more' in said[0]
