"""The task of a line in steps that take a while: two processes, two steps an epoch."""

import os
import subprocess
import sys
import time

import torch
from line_task import REPOSITORY

SLOW = """
import os
import time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Slow(Hook):
    \"\"\"Time to be stopped in; who the processes are, and how far.\"\"\"

    def after_train_iter(self, runner, **kwargs):
        for name, value in (('pid', os.getpid()), ('step', runner.iter + 1)):
            with open(f'{runner.work_dir}/{name}{runner.rank}', 'w') as file:
                file.write(str(value))
        time.sleep(.15)
"""
LR = .0001


def write_slow_task(task, config, epochs, interval):
    """Write a config of two processes, and what it imports, beside the task's module."""
    (task / 'slow_line.py').write_text(SLOW)
    config.write_text(
        (task / 'line_half.py').read_text().replace("'toy_line_task'",
                                                    "'toy_line_task', 'slow_line'")
        + f"custom_hooks.append(dict(type='Slow'))\ntrain_cfg['max_epochs'] = {epochs}\n"
        f"optim_wrapper['optimizer']['lr'] = {LR}\n"
        f"default_hooks['checkpoint'] = dict(type='CheckpointHook', interval={interval})\n")


def start_training(task, config, processes, work_dir, *arguments, within=(), **environment):
    """Start ``dist_train.sh``, within another command."""
    paths = os.pathsep.join([str(task), os.environ.get('PYTHONPATH', '')])
    return subprocess.Popen(
        [*within, 'bash', REPOSITORY / 'tools/dist_train.sh', config, str(processes), '--work-dir',
         work_dir, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, 'PYTHONPATH': paths, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1',
             **environment})


def step_of(work_dir, rank):
    """How far a process is."""
    try:
        return int((work_dir / f'step{rank}').read_text() or 0)
    except FileNotFoundError:
        return 0


def wait_until(true, seconds=240):
    """Wait for something, and give how long it took."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds
        time.sleep(.05)
    return time.monotonic() - begin


def unbroken_slope(steps):
    """The weight after some steps, bit for bit: each process's gradient, then their mean."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], LR)
    for step in range(steps):
        optimizer.zero_grad()
        for rank in (0, 1):
            # The samples of a step are dealt in turn.
            x = torch.tensor([[4 * (step % 2) + rank + 1.], [4 * (step % 2) + rank + 3.]])
            (((weight * x - 3 * x) ** 2).mean() / 2).backward()
        optimizer.step()
    return weight.item()
