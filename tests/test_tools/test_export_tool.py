"""export.py: what the command line hands on, and what it prints."""

from pathlib import Path

import pytest
from load_script import load_script

from amt_mm.errors import InputError
from amt_mm.shipped import tools_folder


@pytest.fixture
def tool():
    return load_script(tools_folder() / 'export.py')


def test_arguments_are_handed_on_and_the_lines_are_said(tool, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(tool, 'export', lambda *given: calls.append(given) or ['load: so', 'note'])
    tool.main(['a.pth', '--to', 'timm', '--out', 'here'])
    tool.main(['a.pth', '--to', 'onnx', '--out', 'here', '--image-size', '96', '--encoder',
               'student', '--force'])
    assert calls == [(Path('a.pth'), 'timm', Path('here'), None, None, False, False),
                     (Path('a.pth'), 'onnx', Path('here'), 96, 'student', True, False)]
    assert capsys.readouterr().out == 'load: so\nnote\n' * 2


def test_bad_input_is_one_line_and_status_2(tool, monkeypatch, capsys):
    def refuse(*_):
        raise InputError('a.pth: no such checkpoint')

    monkeypatch.setattr(tool, 'export', refuse)
    with pytest.raises(SystemExit) as stop:
        tool.main(['a.pth', '--to', 'timm', '--out', 'here'])
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: a.pth: no such checkpoint\n'
