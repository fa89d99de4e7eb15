"""Scripts as processes of their own, forked from a server that has imported the stack.

The process has its own arguments, environment, folder, output and status, as if it were started;
what it spares are the 4 CPU seconds of importing the stack. The server starts with the first
script and knows nothing of what tests did in their own process.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch

_SERVER = multiprocessing.get_context('forkserver')
_SERVER.set_forkserver_preload([
    'amt_mm.registry', 'amt_mm.apis.launch', 'amt_mm.datasets', 'lab.benchmark.contestant',
    'amt_mm.evaluation', 'amt_mm.models', 'amt_mm.visualization',
    'mmpretrain.apis'])


def run_script(path, *arguments, timeout=120, **kwargs):
    """What ``subprocess.run`` would give: status and the text that was printed."""
    with started(path, *arguments, **kwargs) as process:
        process.join(timeout)
        assert process.exitcode is not None, f'{path} has not ended in {timeout} s'
        return subprocess.CompletedProcess(
            [path, *arguments], process.exitcode, process.stdout.read_text(),
            process.stderr.read_text())


@contextmanager
def started(path, *arguments, env=None, cwd=None):
    """The running process, with ``stdout`` and ``stderr`` as files; killed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        process = _SERVER.Process(target=_be, args=(
            str(path), [str(argument) for argument in arguments],
            dict(os.environ if env is None else env), str(cwd or Path.cwd()), str(out), str(err)))
        process.start()
        process.stdout, process.stderr = out, err
        try:
            yield process
        finally:
            process.kill()
            process.join()


def _be(path, arguments, environment, folder, out, err):
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # Both are read as the interpreter or torch starts.
    sys.path[:0] = [str(Path(path).parent), *environment.get('PYTHONPATH', '').split(os.pathsep)]
    torch.set_num_threads(int(environment.get('OMP_NUM_THREADS', os.cpu_count())))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name='__main__')
