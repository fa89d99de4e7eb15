"""What runs keep for the report: read as data, and images that are spread over the classes."""

import pytest
import torch
from labelled_toys import LabelledImages

from amt_mm.errors import InputError
from amt_mm.evaluation.kept import keep, kept, kept_alike, shown_rows


class Run:
    def __init__(self, folder):
        self.work_dir = str(folder)


def test_what_was_kept_is_read_by_name(tmp_path):
    keep(Run(tmp_path), 'sweep_ep', lrs=[.1, .2], held_out=[3., 4.])
    keep(Run(tmp_path), 'sweep_aim', lrs=[.3], held_out=[5.], maps=torch.ones(2, 3))
    assert kept(tmp_path, 'sweep_ep') == {'lrs': [.1, .2], 'held_out': [3., 4.]}
    assert kept(tmp_path, 'tokens') is None and kept_alike(tmp_path, 'queries_') == {}
    found = kept_alike(tmp_path, 'sweep_')
    assert list(found) == ['aim', 'ep'] and found['aim']['maps'].shape == (2, 3)


def test_no_code_of_a_file_runs(tmp_path):
    (tmp_path / 'kept').mkdir()
    torch.save(dict(call=Run(tmp_path)), tmp_path / 'kept/bad.pth')
    with pytest.raises(InputError, match='code from a file is not run'):
        kept(tmp_path, 'bad')


def test_images_of_as_many_classes_as_possible_are_shown():
    labels = [0] * 40 + [1] * 5 + [2, 3, 4, 5]
    rows = shown_rows(LabelledImages(labels))
    assert sorted(labels[row] for row in rows) == [0, 1, 2, 3, 4, 5]
    assert rows == shown_rows(LabelledImages(labels, seed=1))


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / 'kept').mkdir()
    (tmp_path / 'kept/a.pth').touch()
    with pytest.raises(InputError, match=r'kept/a\.pth: not a checkpoint, or truncated \(0 bytes'):
        kept(tmp_path, 'a')
