"""files_below: links are followed, never in circles, and never lost."""

import errno
import os
import subprocess

import pytest

from amt_mm.datasets.files_below import files_below
from amt_mm.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ('data/a/0', 'data/b/0', 'data/.hidden/0', 'elsewhere/0', 'elsewhere/1'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / 'data'


def found(folder):
    return sorted('/'.join(parts) for parts in files_below(str(folder)))


def test_links_are_followed(folder):
    (folder / 'c').symlink_to('../elsewhere')
    (folder / 'd').symlink_to('c')
    (folder / 'a/1').symlink_to(folder / 'a/0')
    assert found(folder) == ['a/0', 'a/1', 'b/0', 'c/0', 'c/1', 'd/0', 'd/1']


def test_a_link_that_leads_nowhere_is_a_file(folder):
    (folder / 'a/gone').symlink_to('nowhere')
    assert found(folder) == ['a/0', 'a/gone', 'b/0']


def test_a_link_to_what_contains_it_is_named(folder):
    (folder / 'c').symlink_to('../elsewhere')
    (folder / '../elsewhere/back').symlink_to(folder.parent)
    with pytest.raises(InputError, match=r'c/back: this link leads back to .*, which contains it'):
        found(folder)


def test_links_to_each_other_are_named(folder):
    (folder / 'a/b').symlink_to('../b')
    (folder / 'b/a').symlink_to('../a')
    with pytest.raises(InputError, match=r'(a/b/a|b/a/b): this link leads back to .*/data/(a|b),'):
        found(folder)


def test_a_link_to_itself_is_a_file_too(folder):
    (folder / 'own').symlink_to('own')
    (folder / 'a/there').symlink_to('back')
    (folder / 'a/back').symlink_to('there')
    assert found(folder) == ['a/0', 'a/back', 'a/there', 'b/0', 'own']


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    # Modes do not keep an administrator out.
    def scandir(path, plain=os.scandir):
        if path.endswith('lost+found'):
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return plain(path)

    (folder / 'lost+found').mkdir()
    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.raises(InputError, match=r'lost\+found: may not be read, .*a folder without it'):
        found(folder)


def test_pipes_and_devices_are_not_read_for_ever(folder):
    os.mkfifo(folder / 'pipe')
    (folder / 'a/pipe').symlink_to('../pipe')
    (folder / 'a/zero').symlink_to('/dev/zero')
    assert found(folder) == ['a/0', 'b/0']


def test_few_links_with_very_many_ways_are_named(folder):
    # A billion ways through 60 links.
    for i in range(30):
        (folder.parent / f'chain{i}').mkdir()
        for name in ('left', 'right'):
            (folder.parent / f'chain{i}' / name).symlink_to(folder.parent / f'chain{i + 1}')
    (folder / 'c').symlink_to('../chain0')
    with pytest.raises(InputError, match=r'links lead to .*/chain\d+ in more than 100 ways'):
        found(folder)


def test_folders_may_lie_deeper_than_python_calls(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(1200):
        os.mkdir('d')
        os.chdir('d')
    open('0', 'w').close()
    os.chdir(folder)
    try:
        assert f'{"d/" * 1200}0' in found(folder)
    finally:
        # Pytest removes folders by recursion.
        subprocess.run(['rm', '-r', 'd'], check=True)
