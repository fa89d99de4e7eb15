"""The command line tools on a task small enough to compute by hand: y = w x, least squares."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hostile_checkpoints import by_getattr, hostile
from mmengine.config import Config

from amt_mm.checkpoints import TRUST
from amt_mm.errors import REQUEUE_STATUS

REPOSITORY = Path(__file__).resolve().parents[2]

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


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    """Folder with the task's module and a config for one process (4 samples a step)."""
    folder = tmp_path_factory.mktemp('task')
    (folder / 'toy_line_task.py').write_text(TASK)
    (folder / 'line.py').write_text(CONFIG.format(batch=4))
    (folder / 'line_half.py').write_text(CONFIG.format(batch=2))
    return folder


@pytest.fixture(autouse=True)
def in_folder(task, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(task))
    monkeypatch.chdir(tmp_path)
    # Set first, so that what a tool sets is taken back.
    monkeypatch.setenv('LOCAL_RANK', '0')
    return tmp_path


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


def line_of(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert len(lines) == 1
    return lines[0]


def refused(capsys, main, *argv):
    with pytest.raises(SystemExit) as stop:
        main([str(part) for part in argv])
    assert stop.value.code == 2
    return line_of(capsys)


# --- one process -------------------------------------------------------------------------------


def test_train_resume_and_test(task, in_folder):
    train, test = load_tool('train'), load_tool('test')
    train([str(task / 'line.py'), '--cfg-options', 'train_cfg.max_epochs=1'])
    work_dir = in_folder / 'work_dirs/line'
    assert slope_of(work_dir / 'epoch_1.pth') == pytest.approx(expected_slopes()[0], rel=1e-5)

    # On to the second epoch, from the last checkpoint and from a named one.
    train([str(task / 'line.py'), '--resume'])
    assert slope_of(work_dir / 'epoch_2.pth') == pytest.approx(expected_slopes()[1], rel=1e-5)
    train([str(task / 'line.py'), '--resume', str(work_dir / 'epoch_1.pth'),
           '--work-dir', 'again'])
    assert slope_of('again/epoch_2.pth') == pytest.approx(expected_slopes()[1], rel=1e-5)
    assert not Path('again/epoch_1.pth').exists()

    test([str(task / 'line.py'), str(work_dir / 'epoch_2.pth'), '--work-dir', 'tested'])
    metrics = json.loads(next(Path('tested').glob('*/*.json')).read_text())
    assert metrics['error'] == pytest.approx(abs(expected_slopes()[1] - 3) * 3, rel=1e-4)
    assert metrics['samples'] == 5


def test_auto_scale_lr(task):
    load_tool('train')([str(task / 'line.py'), '--auto-scale-lr'])
    # 4 samples a step where the rate is meant for 8.
    assert slope_of('work_dirs/line/epoch_2.pth') == pytest.approx(
        expected_slopes(lr=.005)[1], rel=1e-5)


def test_bf16_trains_here(task, in_folder):
    load_tool('train')([str(task / 'line.py'), '--amp', 'bf16'])
    merged = Config.fromfile(in_folder / 'work_dirs/line/line.py')
    assert merged.optim_wrapper.type == 'amt_mm.BF16OptimWrapper'
    # Products by element stay in fp32 under autocast.
    assert slope_of('work_dirs/line/epoch_2.pth') == pytest.approx(expected_slopes()[1], rel=1e-5)


def test_resume_without_a_checkpoint_says_so(task, capsys):
    load_tool('train')([str(task / 'line.py'), '--resume', '--work-dir', 'fresh'])
    assert 'fresh to go on from: this run starts anew' in capsys.readouterr().err
    assert Path('fresh/epoch_2.pth').exists()


def test_the_runner_that_a_config_names(task, in_folder):
    (in_folder / 'other.py').write_text(
        (task / 'line.py').read_text() + "runner_type = 'amt_mm.NamedRunner'\n")
    from mmengine.runner import Runner

    from amt_mm.registry import RUNNERS
    built = []

    class NamedRunner(Runner):
        @classmethod
        def from_cfg(cls, cfg):
            built.append(cls)
            return super().from_cfg(cfg)

    RUNNERS.register_module(module=NamedRunner)
    try:
        load_tool('train')(['other.py'])
    finally:
        RUNNERS.module_dict.pop('NamedRunner')
    assert built == [NamedRunner]


# --- bad input ---------------------------------------------------------------------------------


def test_train_refuses(task, in_folder, capsys):
    train = load_tool('train')
    line = task / 'line.py'
    assert 'no_such.py' in refused(capsys, train, 'no_such.py')
    assert 'no_such.pth' in refused(capsys, train, line, '--resume', 'no_such.pth')
    assert 'no_such.pth' in refused(capsys, train, line, '--cfg-options', 'load_from=no_such.pth')
    assert 'no optim_wrapper' in refused(capsys, train, line, '--cfg-options',
                                         'optim_wrapper=None')
    assert 'base_batch_size' in refused(capsys, train, line, '--auto-scale-lr', '--cfg-options',
                                        'auto_scale_lr=None')
    torch.save({'state_dict': {'encoder.weight': torch.ones(1)}}, 'foreign.pth')
    message = refused(capsys, train, line, '--cfg-options', 'load_from=foreign.pth')
    assert 'foreign.pth: fills 0 of 1 entries of the model' in message
    assert 'encoder.weight' in message
    # The last checkpoint is recorded, but gone.
    Path('gone').mkdir()
    Path('gone/last_checkpoint').write_text('gone/epoch_7.pth')
    assert 'gone/epoch_7.pth' in refused(capsys, train, line, '--resume', '--work-dir', 'gone')
    Path('cut.pth').write_bytes(Path('foreign.pth').read_bytes()[:-9])
    message = refused(capsys, train, line, '--resume', 'cut.pth')
    assert 'cut.pth: the checkpoint is damaged or cut short' in message


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU')
def test_train_refuses_amp_on_cpu(task, capsys):
    message = refused(capsys, load_tool('train'), task / 'line.py', '--amp')
    assert '--amp fp16 needs a GPU' in message and '--amp bf16' in message


def test_test_refuses(task, in_folder, capsys):
    test = load_tool('test')
    assert 'no_such.pth' in refused(capsys, test, task / 'line.py', 'no_such.pth')
    torch.save({'weight': torch.ones(2)}, 'shape.pth')
    assert 'shape.pth: fills 0 of 1' in refused(capsys, test, task / 'line.py', 'shape.pth')
    Path('pretrain.py').write_text("model = dict(type='Slope')")
    assert 'no test_dataloader' in refused(capsys, test, 'pretrain.py', 'shape.pth')


# --- two processes -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
def test_two_processes_train_and_test_as_one_would(task, in_folder):
    """Two processes of 2 samples make the steps of one process of 4."""
    result = run_script(task, REPOSITORY / 'tools/dist_train.sh', task / 'line_half.py', 2,
                        '--work-dir', in_folder / 'two', '--cfg-options',
                        'train_cfg.max_epochs=2', OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    for epoch, slope in enumerate(expected_slopes(), 1):
        assert slope_of(f'two/epoch_{epoch}.pth') == pytest.approx(slope, rel=1e-5)

    ranks = [json.loads(Path(f'two/rank{rank}.json').read_text()) for rank in (0, 1)]
    for record in ranks:
        assert record['world'] == 2
        assert record['distributed'] is True
        assert record['wrapped'] == 'MMDistributedDataParallel'
        assert record['threads'] == '1'
    # diff_rank_seed: the same seed plus the rank, hence other numbers.
    assert ranks[0]['drawn'] != ranks[1]['drawn']
    assert {record['seed'] for record in ranks} == {5, 6}

    # 5 samples over 2 processes: the padded sixth must not count.
    result = run_script(task, REPOSITORY / 'tools/dist_test.sh', task / 'line_half.py',
                        'two/epoch_2.pth', 2, '--work-dir', in_folder / 'tested')
    assert result.returncode == 0, result.stderr
    metrics = json.loads(next(Path('tested').glob('*/*.json')).read_text())
    assert metrics['samples'] == 5
    assert metrics['error'] == pytest.approx(abs(expected_slopes()[1] - 3) * 3, rel=1e-4)


def fake(folder, name):
    """A command that prints its arguments, one a line, in place of the real one."""
    path = folder / name
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo "threads $OMP_NUM_THREADS"\n')
    path.chmod(0o755)
    return path


def test_processes_on_several_machines(task, in_folder):
    result = run_script(task, REPOSITORY / 'tools/dist_train.sh', 'my config.py', 4, '--resume',
                        PYTHON=str(fake(in_folder, 'python')), NNODES='2', NODE_RANK='1',
                        MASTER_ADDR='10.0.0.1', PORT='1234', OMP_NUM_THREADS='3')
    assert result.stdout.splitlines() == [
        str(REPOSITORY / 'tools/launch_processes.py'), '--nnodes', '2', '--node-rank', '1',
        '--master-addr', '10.0.0.1', '--master-port', '1234', '--nproc-per-node', '4',
        str(REPOSITORY / 'tools/train.py'), 'my config.py', '--resume', '--launcher', 'pytorch',
        'threads 3']


def test_slurm(task, in_folder):
    fake(in_folder, 'srun')
    result = run_script(task, REPOSITORY / 'tools/slurm_train.sh', 'gpu', 'job', 'my config.py',
                        'work', '--amp', PATH=f'{in_folder}:{os.environ["PATH"]}', GPUS='4',
                        SRUN_ARGS='--time=1:00 --qos=low', PYTHON='py')
    assert result.stdout.splitlines()[:-1] == [
        '--partition=gpu', '--job-name=job', '--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4',
        '--cpus-per-task=5', '--kill-on-bad-exit=1', '--time=1:00', '--qos=low', 'py', '-u',
        str(REPOSITORY / 'tools/train.py'), 'my config.py', '--work-dir', 'work', '--launcher',
        'slurm', '--amp']


def test_slurm_submits_a_job_that_requeues_itself(task, in_folder):
    fake(in_folder, 'sbatch')
    result = run_script(task, REPOSITORY / 'tools/slurm_train.sh', 'gpu', 'job', 'my config.py',
                        'work', '--amp', PATH=f'{in_folder}:{os.environ["PATH"]}', GPUS='4',
                        SRUN_ARGS='--time=1:00', REQUEUE='1', SIGNAL_SECONDS='90')
    *arguments, wrapped, _ = result.stdout.splitlines()
    assert arguments == [
        '--partition=gpu', '--job-name=job', '--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4',
        '--cpus-per-task=5', '--requeue', '--open-mode=append', '--signal=USR1@90', '--time=1:00',
        '--wrap']
    # What Slurm runs from its copy, as a script of its own.
    fake(in_folder, 'srun')
    inside = run_script(task, 'sh', '-c', wrapped, SLURM_JOB_ID='7', REQUEUE='1', GPUS='4',
                        SRUN_ARGS='--time=1:00', PATH=f'{in_folder}:{os.environ["PATH"]}')
    lines = inside.stdout.splitlines()
    assert lines[6] == '--kill-on-bad-exit=1' and '--time=1:00' not in lines
    assert lines[-7:-1] == ['my config.py', '--work-dir', 'work', '--launcher', 'slurm', '--amp']


@pytest.mark.parametrize('status', [0, 1, 2, REQUEUE_STATUS, 143])
def test_slurm_requeues_what_was_stopped_and_saved(task, in_folder, status):
    fake(in_folder, 'scontrol')
    (in_folder / 'srun').write_text(f'#!/bin/sh\nexit {status}\n')
    (in_folder / 'srun').chmod(0o755)
    result = run_script(task, REPOSITORY / 'tools/slurm_train.sh', 'gpu', 'job', 'a.py', 'work',
                        PATH=f'{in_folder}:{os.environ["PATH"]}', REQUEUE='1', SLURM_JOB_ID='17')
    assert result.returncode == status
    told = ['requeue', '17', 'threads '] if status == REQUEUE_STATUS else []
    assert result.stdout.splitlines() == told


@pytest.mark.parametrize('count', ['', '0', '2'])
def test_slurm_resumes_a_job_that_was_requeued(task, in_folder, count):
    fake(in_folder, 'srun')
    result = run_script(task, REPOSITORY / 'tools/slurm_train.sh', 'gpu', 'job', 'a.py', 'work',
                        '--resume', 'x.pth', PATH=f'{in_folder}:{os.environ["PATH"]}', REQUEUE='1',
                        SLURM_JOB_ID='17', SLURM_RESTART_COUNT=count)
    asked = ['--resume', 'x.pth', *(['--resume'] if count == '2' else [])]
    assert result.stdout.splitlines()[-1 - len(asked):-1] == asked
    assert load_tool('train').__globals__['parse_args'](['a.py', *asked]).resume == (
        'auto' if count == '2' else 'x.pth')


SLOW = """
import time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Slow(Hook):
    \"\"\"Time to be stopped in; who the processes are.\"\"\"

    def after_train_iter(self, runner, **kwargs):
        import os
        with open(f'{runner.work_dir}/pid{runner.rank}', 'w') as file:
            file.write(str(os.getpid()))
        time.sleep(.15)
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
def test_two_processes_stop_at_one_step_and_go_on_as_if_unbroken(task, in_folder):
    """A signal to one of them; then, resumed, to the one that started them."""
    (in_folder / 'slow_line.py').write_text(SLOW)
    (in_folder / 'a.py').write_text(
        (task / 'line_half.py').read_text().replace("'toy_line_task'",
                                                    "'toy_line_task', 'slow_line'")
        + "custom_hooks.append(dict(type='Slow'))\ntrain_cfg['max_epochs'] = 60\n"
        "optim_wrapper['optimizer']['lr'] = .0001\n"
        "default_hooks['checkpoint'] = dict(type='CheckpointHook', interval=50)\n")
    work_dir, path = in_folder / 'run', f'{task}{os.pathsep}{in_folder}'
    iterations = []
    for turn, number in enumerate((signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM)):
        for file in work_dir.glob('pid*'):
            file.unlink()
        paths = os.pathsep.join([str(path), os.environ.get('PYTHONPATH', '')])
        process = subprocess.Popen(
            ['bash', REPOSITORY / 'tools/dist_train.sh', 'a.py', '2', '--work-dir', work_dir,
             '--resume'], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, 'PYTHONPATH': paths, 'PYTHON': sys.executable,
                 'OMP_NUM_THREADS': '1'})
        while len(list(work_dir.glob('pid*'))) < 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(.05)
        time.sleep(.3)
        told = int((work_dir / 'pid1').read_text()) if turn == 0 else process.pid
        os.kill(told, number)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == REQUEUE_STATUS, errors
        assert 'Traceback' not in errors and errors.count('warning: stopped by') == 1
        newest = Path((work_dir / 'last_checkpoint').read_text())
        iterations.append(torch.load(newest, weights_only=False)['meta']['iter'])
        # 2 steps an epoch of 8 samples: 4 a step over both.
        weight = 0.
        for iteration in range(iterations[-1]):
            xs = [4 * (iteration % 2) + i + 1. for i in range(4)]
            weight -= .0001 * sum(2 * x * (weight * x - 3 * x) for x in xs) / 4
        assert slope_of(newest) == pytest.approx(weight, rel=1e-4)
    assert 0 < iterations[0] < iterations[1] < iterations[2] < 120


@pytest.mark.parametrize(('script', 'arguments', 'part'), [
    ('dist_train.sh', ['config.py'], 'usage:'),
    ('dist_test.sh', ['config.py', 'x.pth'], 'usage:'),
    ('slurm_train.sh', ['gpu', 'job', 'config.py'], 'usage:'),
    ('dist_train.sh', ['config.py', 'many'], "not 'many'"),
    ('dist_test.sh', ['config.py', 'x.pth', '0'], "not '0'"),
])
def test_scripts_say_what_they_take(task, script, arguments, part):
    result = run_script(task, REPOSITORY / 'tools' / script, *arguments)
    assert result.returncode == 2
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_has_an_example(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        load_tool(tool)(['--help'])
    assert stop.value.code == 0
    assert f'python tools/{tool}.py CONFIG' in capsys.readouterr().out


# --- files that run code -------------------------------------------------------------------------


@pytest.mark.parametrize('make', [hostile, by_getattr])
@pytest.mark.parametrize('way', ['--resume', 'load_from', 'test'])
def test_no_tool_runs_code_from_a_checkpoint(task, in_folder, capsys, way, make):
    file, config = make(in_folder / 'a.pth', in_folder / 'harm'), task / 'line.py'
    arguments = {'--resume': ['--resume', file], 'test': [file],
                 'load_from': ['--cfg-options', f'load_from={file}']}[way]
    line = refused(capsys, load_tool('test' if way == 'test' else 'train'), config, *arguments)
    assert 'a.pth: needs `' in line and '--trust-checkpoint' in line
    assert not (in_folder / 'harm').exists()


def test_a_flag_trusts_a_checkpoint(task, in_folder, monkeypatch):
    monkeypatch.setenv(TRUST, '0')
    file = hostile(in_folder / 'a.pth', in_folder / 'harm',
                   state_dict={'weight': torch.tensor([2.])})
    load_tool('test')([str(task / 'line.py'), str(file), '--trust-checkpoint'])
    assert (in_folder / 'harm').exists()


def test_a_worker_that_dies_is_one_line(task, in_folder, monkeypatch, capsys):
    import toy_line_task

    monkeypatch.setattr(toy_line_task.Line, '__getitem__',
                        lambda self, index: os.kill(os.getpid(), signal.SIGKILL))
    line = refused(capsys, load_tool('train'), task / 'line.py', '--cfg-options',
                   'train_dataloader.num_workers=1')
    assert 'loading worker 0 (pid ' in line and 'SIGKILL while it read sample 0' in line
