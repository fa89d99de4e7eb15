"""tools/compare.py: what is refused before the first run."""

import sys

import pytest
from load_script import load_script

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
