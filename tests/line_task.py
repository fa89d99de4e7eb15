"""A task small enough to compute by hand, for the command line tools: y = w x, least squares."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]

TASK = '''
import json
import os

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch.utils.data import Dataset


@DATASETS.register_module()
class Line(Dataset):
    """(x, 3 x) for x = 1 ... length."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        x = torch.tensor([index + 1.])
        return dict(x=x, y=3 * x)


@MODELS.register_module()
class Slope(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, y, mode):
        if mode == 'loss':
            return dict(loss=((self.weight * x - y) ** 2).mean())
        return list((self.weight * x - y).abs())


@METRICS.register_module()
class Error(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(float(error) for error in data_samples)

    def compute_metrics(self, results):
        return dict(error=sum(results) / len(results), samples=float(len(results)))


@HOOKS.register_module()
class Record(Hook):
    """One file a process, with what it knows of the others and of chance."""

    def before_train(self, runner):
        record = dict(world=get_world_size(), distributed=runner.distributed, seed=runner.seed,
                      drawn=torch.rand(1).item(), threads=os.environ.get('OMP_NUM_THREADS'),
                      wrapped=type(runner.model).__name__)
        with open(f'{runner.work_dir}/rank{get_rank()}.json', 'w') as file:
            json.dump(record, file)
'''

CONFIG = '''
custom_imports = dict(imports=['toy_line_task'])
default_scope = 'mmengine'
model = dict(type='Slope')
batch = {batch}
train_dataloader = dict(batch_size=batch, dataset=dict(type='Line', length=8), num_workers=0,
                        collate_fn=dict(type='default_collate'),
                        sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = dict(batch_size=2, dataset=dict(type='Line', length=5), num_workers=0,
                       collate_fn=dict(type='default_collate'),
                       sampler=dict(type='DefaultSampler', shuffle=False))
train_cfg = dict(by_epoch=True, max_epochs=2)
test_cfg = dict()
test_evaluator = dict(type='Error')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=.01))
auto_scale_lr = dict(base_batch_size=8)
custom_hooks = [dict(type='Record')]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
randomness = dict(seed=5, diff_rank_seed=True)
'''


def expected_slopes(batch=4, lr=.01, epochs=2):
    """Weight after each epoch, by the formula."""
    weight, slopes = 0., []
    for _ in range(epochs):
        for start in range(0, 8, batch):
            xs = [start + i + 1. for i in range(batch)]
            weight -= lr * sum(2 * x * (weight * x - 3 * x) for x in xs) / batch
        slopes.append(weight)
    return slopes


def write_task(folder):
    """Write the task's module and configs for one process (4 samples a step) and for two."""
    (folder / 'toy_line_task.py').write_text(TASK)
    (folder / 'line.py').write_text(CONFIG.format(batch=4))
    (folder / 'line_half.py').write_text(CONFIG.format(batch=2))
    return folder


def enter(task, folder, monkeypatch):
    """Work in a folder, with the task at hand."""
    monkeypatch.syspath_prepend(str(task))
    monkeypatch.chdir(folder)
    # Set first, so that what a tool sets is taken back.
    monkeypatch.setenv('LOCAL_RANK', '0')


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', REPOSITORY / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def run_script(task, *command, **environment):
    path = os.pathsep.join([str(task), os.environ.get('PYTHONPATH', '')])
    clean = {k: v for k, v in os.environ.items() if k not in ('LOCAL_RANK', 'OMP_NUM_THREADS')}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=240,
        env={**clean, 'PYTHONPATH': path, 'PYTHON': sys.executable, **environment})


def slope_of(checkpoint):
    return torch.load(checkpoint, weights_only=False)['state_dict']['weight'].item()
