"""A script in two processes that exchange by gloo."""

import os
import subprocess
import sys


def in_two_real_processes(script, *arguments, timeout=120):
    """Start it by torchrun, see both end well, and give what they printed."""
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(script), *map(str, arguments)],
        env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True,
        timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
