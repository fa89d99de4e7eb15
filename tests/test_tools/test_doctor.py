"""amt doctor in an environment that is broken, and the sum of what it finds."""

import subprocess
import sys
from pathlib import Path

import pytest
from load_script import load_script

from amt_mm.apis import doctor
from amt_mm.apis.doctor import Finding

TOOL = Path(__file__).parents[2] / 'tools/doctor.py'


def test_a_broken_torch_is_a_line(tmp_path, monkeypatch):
    """In a process of its own, since here the stack is imported."""
    for name in ('torch', 'mmengine', 'numpy'):
        (tmp_path / f'{name}.py').write_text(f'raise ImportError("{name} is broken")')
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{TOOL.parents[1]}')
    done = subprocess.run([sys.executable, TOOL, '--work-dir', tmp_path / 'runs'],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ''
    assert 'problem  torch does not import (ImportError: torch is broken): run `make' in done.stdout
    assert done.stdout.endswith('\nTraining cannot run here (warnings: 0, problems: 1)\n')
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(('states', 'status'), [
    (['ok'], 0), (['ok', 'warning'], 0), (['warning', 'problem', 'ok'], 1)])
def test_warnings_do_not_count(states, status, monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'examine', lambda _: [Finding(state, 'text') for state in states])
    monkeypatch.setattr('signal.signal', lambda *_: None)
    monkeypatch.setattr(sys, 'argv', ['doctor'])
    with pytest.raises(SystemExit) as end:
        load_script(TOOL).main()
    assert end.value.code == status
    assert len(capsys.readouterr().out.splitlines()) == len(states) + 2
