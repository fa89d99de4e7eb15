"""No tool makes a user wait for the stack to say how it is called."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amt_mm.cli import parse_first

# The options of launch_processes.py are those of torchrun, which torch alone can print.
ROOT = Path(__file__).parents[2]
TOOLS = sorted({*ROOT.glob('tools/**/*.py'), *ROOT.glob('lab/*.py'),
                *ROOT.glob('lab/*/__main__.py')} - {
                    ROOT / 'tools/launch_processes.py', ROOT / 'lab/__init__.py'})
assert len(TOOLS) > 20
RUN = """
import json, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as stop:
    print(json.dumps([stop.code, sorted({name.partition('.')[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_and_usage_errors_import_no_stack(tool):
    # A fresh interpreter: here the stack is imported.
    for flag, status in (('--help', 0), ('--no-such-flag', 2)):
        done = subprocess.run([sys.executable, '-c', RUN, str(tool), flag], capture_output=True,
                              text=True, check=True, cwd=ROOT)
        *said, found = done.stdout.splitlines()
        code, modules = json.loads(found)
        assert code == status and (said if flag == '--help' else 'error: ' in done.stderr)
        assert 'amt_mm' in modules
        assert not {'torch', 'mmengine', 'mmcv', 'mmpretrain', 'numpy'} & set(modules)


@pytest.mark.parametrize(('error', 'advice'), [
    ('amt_mm needs onedl-mmcv', 'run `make install` in a clone'),
    ('libGL.so.1: cannot open shared object file', '.*apt-get install libgl1')])
def test_what_cannot_be_imported_is_one_line(monkeypatch, error, advice):
    class Missing:
        def find_spec(self, name, *_):
            if name == 'amt_mm.registry':
                raise ImportError(error)

    monkeypatch.delitem(sys.modules, 'amt_mm.registry')
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    monkeypatch.setattr(sys, 'meta_path', [Missing(), *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        parse_first(lambda: None)
    # Python prints it and ends with status 1.
    assert re.match(f'error: {error}: {advice}', stop.value.code)
    assert '\n' not in stop.value.code


STARTING = """
import os, signal, sys
class Slow:
    def find_spec(self, name, *_):
        if name == 'amt_mm.registry':
            os.kill(os.getpid(), signal.SIGINT)
            raise ImportError('heard of nothing')
sys.meta_path.insert(0, Slow())
from amt_mm.cli import parse_first
parse_first(lambda: None)
"""


@pytest.mark.parametrize(('rank', 'said'), [('0', 'interrupted: nothing was begun\n'), ('1', '')])
def test_ctrl_c_during_the_imports_is_a_line(rank, said):
    done = subprocess.run([sys.executable, '-c', STARTING], capture_output=True, text=True,
                          cwd=ROOT, env={**os.environ, 'RANK': rank})
    assert done.returncode == -signal.SIGINT and done.stderr == said


def test_a_shells_job_in_the_background_ignores_it():
    done = subprocess.run([sys.executable, '-c', STARTING], capture_output=True, text=True,
                          cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                                     signal.SIG_IGN))
    assert done.returncode == 1 and 'heard of nothing' in done.stderr


def test_usage_comes_before_a_missing_package():
    def parse_args():
        raise SystemExit(2)

    with pytest.raises(SystemExit) as stop:
        parse_first(parse_args)
    assert stop.value.code == 2
