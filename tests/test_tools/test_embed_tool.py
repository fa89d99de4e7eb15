"""embed.py: what the command line hands on, and what it prints."""

from pathlib import Path

import pytest
from load_script import load_script

from amt_mm.apis.embed import Embedded
from amt_mm.errors import InputError
from amt_mm.shipped import tools_folder


@pytest.fixture
def tool():
    return load_script(tools_folder() / 'embed.py')


def test_arguments_are_handed_on_and_the_result_is_said(tool, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(tool, 'embed', lambda *given: calls.append(given) or Embedded(
        (7, 9, 48), 'float16', 'all patch tokens of blocks 0, 3', len(calls) - 1))
    tool.main(['a.pth', 'photos', 'a.npz'])
    tool.main(['a.pth', 'photos', 'b.pt', '--tokens', 'both', '--blocks', '-1', '0', '--half',
               '--image-size', '96', '--encoder', 'student', '--batch-size', '3', '--workers', '0',
               '--processes', '3', '--force'])
    assert calls == [
        (Path('a.pth'), Path('photos'), Path('a.npz'), None, [-1], None, None, False, 64, 2, 1,
         False),
        (Path('a.pth'), Path('photos'), Path('b.pt'), 'both', [-1, 0], 96, 'student', True, 3, 0,
         3, True)]
    assert capsys.readouterr().out.splitlines() == [
        'a.npz: 7 images, 9 x 48 float16 each: all patch tokens of blocks 0, 3',
        'b.pt: 7 images (1 left out), 9 x 48 float16 each: all patch tokens of blocks 0, 3']


def test_bad_input_is_one_line_and_status_2(tool, monkeypatch, capsys):
    def refuse(*_):
        raise InputError('photos: no such folder')

    monkeypatch.setattr(tool, 'embed', refuse)
    with pytest.raises(SystemExit) as stop:
        tool.main(['a.pth', 'photos', 'a.npz'])
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: photos: no such folder\n'
