"""The scripts that start several processes, by torch or by Slurm, on the task of a line."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from line_task import (
    REPOSITORY,
    enter,
    expected_slopes,
    load_tool,
    run_script,
    slope_of,
    write_task,
)
from slow_line_task import start_training, wait_until, write_slow_task

from amt_mm.errors import REQUEUE_STATUS


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp('task'))


@pytest.fixture(autouse=True)
def in_folder(task, tmp_path, monkeypatch):
    enter(task, tmp_path, monkeypatch)
    return tmp_path


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


def test_machines_that_may_come_back(task, in_folder):
    fake(in_folder, 'python').write_text('#!/bin/sh\necho $TORCH_DISABLE_SHARE_RDZV_TCP_STORE $@')
    settings = dict(PYTHON=str(in_folder / 'python'), NNODES='2', MASTER_ADDR='10.0.0.1',
                    MAX_RESTARTS='3')
    for rank in (0, 1):
        result = run_script(task, REPOSITORY / 'tools/dist_train.sh', 'a.py', 4, **settings,
                            NODE_RANK=str(rank))
        assert result.stdout.split()[2:-4] == [
            '--nnodes', '2', '--rdzv-backend', 'c10d', '--rdzv-id', 'amt_mm', '--rdzv-endpoint',
            '10.0.0.1:29500', '--rdzv-conf', f'is_host={1 - rank}', '--max-restarts', '3',
            '--nproc-per-node', '4'], result.stdout
        assert result.stdout.split()[0] == '1'
    settings['MAX_RESTARTS'] = 'often'
    result = run_script(task, REPOSITORY / 'tools/dist_train.sh', 'a.py', 4, **settings)
    assert result.returncode == 2 and "MAX_RESTARTS is a number, not 'often'" in result.stderr


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


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
def test_two_processes_stop_at_one_step_and_go_on_as_if_unbroken(task, in_folder):
    """A signal to one of them; then, resumed, to the one that started them."""
    write_slow_task(task, in_folder / 'a.py', epochs=60, interval=50)
    work_dir = in_folder / 'run'
    iterations = []
    for turn, number in enumerate((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)):
        for file in work_dir.glob('pid*'):
            file.unlink()
        process = start_training(task, 'a.py', 2, work_dir, '--resume')
        wait_until(lambda: len(list(work_dir.glob('pid*'))) == 2)
        time.sleep(.3)
        told = int((work_dir / 'pid1').read_text()) if turn == 0 else process.pid
        os.kill(told, number)
        errors = process.communicate(timeout=60)[1]
        # Ended by SIGINT itself, for which a shell's status is 130.
        assert process.returncode == (-number if number == signal.SIGINT else REQUEUE_STATUS), (
            errors)
        assert 'Traceback' not in errors and errors.count('warning: stopped by') == 1
        newest = work_dir / (work_dir / 'last_checkpoint').read_text()
        iterations.append(torch.load(newest, weights_only=False)['meta']['iter'])
        # 2 steps an epoch of 8 samples: 4 a step over both.
        weight = 0.
        for iteration in range(iterations[-1]):
            xs = [4 * (iteration % 2) + i + 1. for i in range(4)]
            weight -= .0001 * sum(2 * x * (weight * x - 3 * x) for x in xs) / 4
        assert slope_of(newest) == pytest.approx(weight, rel=1e-4)
    assert 0 < iterations[0] < iterations[1] < iterations[2] < 120


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
def test_processes_end_with_the_one_that_started_them(task, in_folder):
    write_slow_task(task, in_folder / 'a.py', epochs=900, interval=1)
    work_dir = in_folder / 'run'
    process = start_training(task, 'a.py', 2, work_dir)
    wait_until(lambda: len(list(work_dir.glob('pid*'))) == 2)
    ranks = [int((work_dir / f'pid{rank}').read_text()) for rank in (0, 1)]
    process.kill()
    # They hold the other end of its error stream.
    line, = [line for line in process.communicate(timeout=30)[1].splitlines()
             if line.startswith('error')]
    assert f'the launcher (process {process.pid}) is gone' in line
    for rank in ranks:
        wait_until(lambda pid=rank: not Path(f'/proc/{pid}').exists(), 10)


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
