"""Where results go: refused before, not after, hours of work."""

import os
from pathlib import Path

import pytest

from amt_mm.checkpoints.output import require_outside, require_writable
from amt_mm.errors import InputError


def test_it_makes_the_folder_and_leaves_nothing(tmp_path):
    require_writable(tmp_path / 'a/b/table')
    assert [path.name for path in tmp_path.rglob('*')] == ['a', 'b']


@pytest.mark.parametrize('name', ['file/table', 'loop/table', f'{"n" * 300}/table'])
def test_what_the_system_refuses_is_named(tmp_path, name):
    (tmp_path / 'file').touch()
    os.symlink(tmp_path / 'loop', tmp_path / 'loop')
    with pytest.raises(InputError, match=f'{name}: cannot be written: .'):
        require_writable(tmp_path / name)


def test_a_full_disk(tmp_path, monkeypatch):
    full = open('/dev/full', 'wb')  # noqa: SIM115
    monkeypatch.setattr('tempfile.NamedTemporaryFile', lambda **_: full)
    with pytest.raises(InputError, match='table: cannot be written: No space left on device'):
        require_writable(tmp_path / 'table')


def test_results_do_not_become_images(tmp_path, monkeypatch):
    images = tmp_path / 'images'
    images.mkdir()
    (tmp_path / 'link').symlink_to(images)
    monkeypatch.chdir(images)
    for out in '.', 'work_dirs/a', tmp_path / 'link/a', '../images/a.npz':
        with pytest.raises(InputError, match=r'folder of images \(\.\) would count as images'):
            require_outside(Path(out), Path('.'))
    for out in '..', '../images.npz', '../work_dirs/images':
        require_outside(Path(out), Path('.'))


@pytest.mark.parametrize('name', ['.', '/', '..', 'a/..'])
def test_a_file_has_a_name(name):
    with pytest.raises(InputError, match=f'^{name}: is a folder: add the name of a file'):
        require_writable(Path(name))
