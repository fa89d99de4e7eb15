"""What a fresh interpreter can import, and in which order."""

import subprocess
import sys

import pytest

PARTS = ['hooks', 'guidance', 'reliability', 'engine', 'apis.launch', 'models', 'evaluation']
# One interpreter imports what the parts need and is forked for each of them.
FRESH = """
import importlib, os, sys, traceback
import amt_mm.registry, mmpretrain.models, torchvision
for part in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(f'amt_mm.{part}')
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(part, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope='module')
def fresh():
    return subprocess.run([sys.executable, '-c', FRESH, *PARTS], capture_output=True, text=True)


@pytest.mark.slow
def test_mmpretrain_imports_after_the_registry_without_a_notice(fresh):
    assert fresh.returncode == 0, fresh.stderr
    assert len(fresh.stdout.splitlines()) == len(PARTS)
    assert 'MultiScaleDeformableAttention' not in fresh.stderr


@pytest.mark.slow
@pytest.mark.parametrize('part', PARTS)
def test_any_part_comes_first(fresh, part):
    """No circle of imports that order hides."""
    assert f'{part} 0' in fresh.stdout.splitlines(), fresh.stderr[-3000:]
