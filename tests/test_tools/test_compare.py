"""tools/compare.py: what is refused before the first run."""

import sys

import pytest
from load_script import load_script
from said_soon import said_soon

from amt_mm.errors import InputError
from amt_mm.shipped import tools_folder


@pytest.mark.parametrize('arguments', [['a/x.py', 'y.py', 'b/x.py'],
                                       ['x.py', '--seeds', '0', '1', '0']])
def test_runs_that_would_be_one_are_refused(arguments, monkeypatch, capsys):
    """Their results would be compared as if there were two."""
    monkeypatch.setattr(sys, 'argv', ['compare.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        load_script(tools_folder() / 'compare.py').main()
    assert 'share the folder work_dirs/compare/x/seed_0: give each seed once' in (
        capsys.readouterr().err)


def test_a_failure_is_said_while_other_runs_go_on(monkeypatch, capsys, tmp_path):
    tool, said = load_script(tools_folder() / 'compare.py'), []

    def run(config, *args, **kwargs):
        if config == 'x.py':
            raise InputError('no such image')
        said.append(said != [] or said_soon(
            capsys, f'failed: {tmp_path}/x/seed_0: no such image'))

    for name, fake in (('run', run), ('resolved', lambda *args: None),
                       ('check_comparable', lambda *args: None)):
        monkeypatch.setattr(tool.comparison, name, fake)
    monkeypatch.setattr(sys, 'argv', ['compare.py', 'x.py', 'y.py', 'z.py', '--out',
                                      str(tmp_path)])
    with pytest.raises(SystemExit, match='2'):
        tool.main()
    assert said == [True, True]
