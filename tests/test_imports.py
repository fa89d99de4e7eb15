"""Each part can be the first that is imported: no circle of imports that order hides."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize('part', ['hooks', 'guidance', 'engine', 'apis.launch', 'models',
                                  'evaluation'])
def test_any_part_comes_first(part):
    done = subprocess.run([sys.executable, '-c', f'import amt_mm.registry, amt_mm.{part}'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
