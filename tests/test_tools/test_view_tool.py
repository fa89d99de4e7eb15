"""view.py: what the command line hands on, and what it prints."""

from pathlib import Path

import pytest
from load_script import load_script

from amt_mm.errors import InputError
from amt_mm.shipped import tools_folder


@pytest.fixture
def tool():
    return load_script(tools_folder() / 'view.py')


def test_arguments_are_handed_on_and_the_place_is_printed(tool, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(tool, 'view', lambda *given: calls.append(given) or given[2] / 'view.html')
    tool.main(['runs/epoch_3.pth', 'photos'])
    tool.main(['a.pth', 'photos', '--images', '5', '--seed', '2', '--image-size', '96',
               '--encoder', 'student', '--out', 'here'])
    assert calls == [
        (Path('runs/epoch_3.pth'), Path('photos'), Path('work_dirs/view/runs/epoch_3'), None, 0,
         None, None),
        (Path('a.pth'), Path('photos'), Path('here'), 5, 2, 96, 'student')]
    assert capsys.readouterr().out.splitlines()[:2] == [
        'page      work_dirs/view/runs/epoch_3/view.html',
        'pictures  work_dirs/view/runs/epoch_3/*/*.png']


def test_each_checkpoint_has_a_folder_of_its_own_below(tool, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(tool, 'view', lambda *given: calls.append(given[2]))
    (tmp_path / 'runs/here').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'runs/here')
    for checkpoint in ('work_dirs/mae/seed_0/epoch_3.pth', 'work_dirs/amt/seed_0/epoch_3.pth',
                       './mine/epoch_3.5.pth', '../epoch_3.pth'):
        tool.main([checkpoint, 'photos'])
    above = tmp_path.relative_to('/') / 'runs/epoch_3'
    assert calls == [Path('work_dirs/view') / own for own in (
        'mae/seed_0/epoch_3', 'amt/seed_0/epoch_3', 'mine/epoch_3.5', above)]


def test_bad_input_is_one_line_and_status_2(tool, monkeypatch, capsys):
    def refuse(*_):
        raise InputError('photos: no such folder')

    monkeypatch.setattr(tool, 'view', refuse)
    with pytest.raises(SystemExit) as stop:
        tool.main(['a.pth', 'photos'])
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: photos: no such folder\n'
