"""The command line tools in one process, on the task of a line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from hostile_checkpoints import by_getattr, hostile
from line_task import enter, expected_slopes, load_tool, slope_of, write_task
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from amt_mm.checkpoints import TRUST


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp('task'))


@pytest.fixture(autouse=True)
def in_folder(task, tmp_path, monkeypatch):
    enter(task, tmp_path, monkeypatch)
    return tmp_path


def line_of(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert len(lines) == 1
    return lines[0]


def refused(capsys, main, *argv):
    with pytest.raises(SystemExit) as stop:
        main([str(part) for part in argv])
    assert stop.value.code == 2
    return line_of(capsys)


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


def test_auto_scale_lr_counts_accumulated_batches(task):
    load_tool('train')([str(task / 'line.py'), '--auto-scale-lr', '--cfg-options',
                        'optim_wrapper.accumulative_counts=2'])
    # A step is of the 8 samples that the rate is meant for.
    assert slope_of('work_dirs/line/epoch_2.pth') == pytest.approx(
        expected_slopes(batch=8)[1], rel=1e-5)


@pytest.mark.parametrize(('base', 'options', 'said'), [
    (8, (), None), (9, (), 'of 4 samples .* is meant for 9 .*multiply it by 0.444444'),
    (2, (), None), (1, (), 'multiply it by 4'),
    (9, ('optim_wrapper.accumulative_counts=2', ), None),
    (32, ('optim_wrapper.accumulative_counts=2', ), 'of 8 samples .*multiply it by 0.25')])
def test_a_learning_rate_for_another_batch_is_said_to_be(task, in_folder, base, options, said):
    load_tool('train')([str(task / 'line.py'), '--cfg-options', 'train_cfg.max_epochs=1',
                        # Runs of one second would share a logger.
                        f'experiment_name={base}-{len(options)}',
                        f'auto_scale_lr.base_batch_size={base}', *options])
    log, = in_folder.glob('work_dirs/line/*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'add --auto-scale-lr' in line]
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])


def test_bf16_trains_here(task, in_folder):
    load_tool('train')([str(task / 'line.py'), '--amp', 'bf16'])
    merged = Config.fromfile(in_folder / 'work_dirs/line/line.py')
    assert merged.optim_wrapper.type == 'amt_mm.BF16OptimWrapper'
    # Products by element stay in fp32 under autocast.
    assert slope_of('work_dirs/line/epoch_2.pth') == pytest.approx(expected_slopes()[1], rel=1e-5)


def test_tensorboard_has_each_loss_once_over_a_resumed_run(task, in_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train, every = load_tool('train'), ['--cfg-options', 'default_hooks.logger.interval=1']
    # MMEngine keeps visualizers by name and second: another test's run may be of the same second.
    train([str(task / 'line.py'), '--tensorboard', *every, 'train_cfg.max_epochs=1',
           'experiment_name=first'])
    first = len(list(in_folder.glob('work_dirs/line/*/vis_data/scalars.json')))
    train([str(task / 'line.py'), '--tensorboard', '--resume', *every, 'experiment_name=again'])
    files = sorted(in_folder.glob('work_dirs/line/*/vis_data/events.out.tfevents.*'))
    losses = {}
    for file in files:
        events = EventAccumulator(str(file)).Reload()
        for each in events.Scalars('loss'):
            assert losses.setdefault(each.step, each.value) == each.value
    logged = [json.loads(line) for file in in_folder.glob('work_dirs/line/*/vis_data/scalars.json')
              for line in file.read_text().splitlines()]
    assert first == 1 and losses == pytest.approx(
        {record['step']: record['loss'] for record in logged if 'loss' in record})
    assert len(losses) > 3


def test_resume_without_a_checkpoint_says_so(task, capsys):
    load_tool('train')([str(task / 'line.py'), '--resume', '--work-dir', 'fresh'])
    assert 'fresh to resume from: training starts from the beginning' in capsys.readouterr().err
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
    assert 'base_batch_size=0 must be' in refused(
        capsys, train, line, '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=0')
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
    assert 'cut.pth: the checkpoint is damaged or truncated' in message


@pytest.mark.parametrize('resume', [[], ['--resume', 'epoch_1.pth']])
def test_a_run_that_may_be_restarted_goes_on_from_its_newest_checkpoint(
        task, in_folder, capsys, monkeypatch, resume):
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    line = refused(capsys, load_tool('train'), task / 'line.py', *resume)
    assert 'MAX_RESTARTS needs --resume, without a name' in line


@pytest.mark.parametrize(('options', 'said'), [
    ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper.optimizer.lr=-1 must be'),
    ('optim_wrapper.optimizer.betas=3', "'betas'"), ('optim_wrapper.optimizer.eps=x', 'eps'),
    ('train_dataloader.num_workers=-1', 'train_dataloader.num_workers=-1 must be'),
    ('train_dataloader.timeout=-1', 'timeout option should be non-negative'),
    ('train_dataloader.dataset.type=Nope', 'Nope is not in the mm'),
    ('train_dataloader.dataset.length=3 train_dataloader.drop_last=True', '3 samples fill none'),
    ('train_cfg.max_epochs=0', 'train_cfg.max_epochs=0 must be'), ('train_cfg=3', 'train_cfg=3'),
    ('train_cfg.type=Nope', 'both type=Nope and by_epoch=True'),
    ('default_hooks.logger.interval=0', 'interval must be greater than 0')])
def test_settings_that_cannot_be_are_one_line(task, capsys, options, said):
    assert said in refused(capsys, load_tool('train'), task / 'line.py', '--cfg-options',
                           *options.split())


@pytest.mark.slow
def test_a_work_folder_that_is_deleted_while_it_trains(task, in_folder, capsys):
    @HOOKS.register_module(name='Delete', force=True)
    class Delete(Hook):
        def before_train_iter(self, runner, **kwargs):
            if runner.iter == 2:
                shutil.rmtree(runner.work_dir)

    (in_folder / 'a.py').write_text((task / 'line.py').read_text()
                                    + "custom_hooks.append(dict(type='Delete'))\n")
    line = refused(capsys, load_tool('train'), 'a.py', '--work-dir', 'gone')
    assert 'gone/' in line and line.endswith('No such file or directory')


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


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_has_an_example(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        load_tool(tool)(['--help'])
    assert stop.value.code == 0
    assert f'python tools/{tool}.py CONFIG' in capsys.readouterr().out


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
