"""SafeCheckpointHook: save, name, delete, in this order, wherever it breaks off."""

from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook
from mmengine.registry import METRICS
from mmengine.runner import Runner

from amt_mm.engine import OverlayRunner
from amt_mm.reliability import SafeCheckpointHook
from amt_mm.saliency import map_file


class Crash(BaseException):
    """The machine stops."""


@pytest.fixture
def run(toy_runner, monkeypatch):
    """The factory ``run(work_dir, **settings of the hook, crash=n)``; the n-th rename crashes."""

    def make(work_dir='run', epochs=4, crash=None, before=True, kind=OverlayRunner, resume=False,
             changes=(), **settings):
        replace, count = map_file.os.replace, 0

        def breaking(source, target):
            nonlocal count
            count += 1
            if count == crash and before:
                raise Crash
            replace(source, target)
            if count == crash:
                raise Crash

        runner = toy_runner(work_dir, epochs=epochs, kind=kind, resume=resume, **dict(changes),
                            default_hooks=dict(logger=None, checkpoint=dict(
                                type='CheckpointHook', **{'interval': 1, **settings})))
        with monkeypatch.context() as patch:
            patch.setattr(map_file.os, 'replace', breaking)
            try:
                runner.train()
            except Crash:
                assert crash is not None
            else:
                assert crash is None or crash > count
        return runner

    return make


def names(runner):
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def test_it_takes_the_place_of_mmengines(run):
    runner = run(epochs=1, save_optimizer=False)
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert [type(hook) for hook in hooks] == [SafeCheckpointHook]
    assert 'optimizer' not in torch.load(Path(runner.work_dir, 'epoch_1.pth'), weights_only=False)


@pytest.mark.slow
@pytest.mark.parametrize('settings', [
    dict(), dict(max_keep_ckpts=2), dict(interval=3, max_keep_ckpts=1),
    dict(interval=2, by_epoch=False, max_keep_ckpts=3), dict(interval=3, save_last=False),
    dict(save_begin=2, filename_tmpl='state{}.pth'), dict(out_dir='elsewhere'),
    dict(published_keys=['state_dict'], max_keep_ckpts=1)])
def test_it_keeps_the_files_that_mmengine_keeps(run, settings, tmp_path, monkeypatch):
    if 'out_dir' in settings:
        settings = dict(settings, out_dir=str(tmp_path / 'elsewhere'))
    ours, theirs = run('ours', **settings), run('theirs', kind=Runner, **settings)
    folders = [Path(runner.work_dir) for runner in (ours, theirs)]
    if 'out_dir' in settings:
        folders = [Path(settings['out_dir'], folder.name) for folder in folders]
    found = [sorted(file.name.partition('-')[0] for file in folder.glob('*.pth'))
             for folder in folders]
    assert found[0] == found[1] and found[0]
    last = [Path(runner.work_dir, 'last_checkpoint').read_text() for runner in (ours, theirs)]
    # The same file, by its name alone.
    assert last[0] == Path(last[1]).name
    if 'published_keys' in settings:
        published, = folders[0].glob('epoch_4-*.pth')
        assert set(torch.load(published, weights_only=False)) == {'state_dict'}
    assert not [file for folder in folders for file in folder.glob('.*.saving')]


@pytest.mark.slow
@pytest.mark.parametrize('before', [True, False])
def test_nothing_is_deleted_before_the_next_is_complete(run, before):
    """Whatever moment of saving is the last one: a whole checkpoint, and at most one more."""
    for crash in range(1, 9):  # two renames an epoch: the checkpoint, then last_checkpoint
        runner = run(str(crash), crash=crash, before=before, max_keep_ckpts=1)
        epoch, named = (crash + 1) // 2, crash % 2 == 0
        complete = epoch - (before and not named)
        expected = {f'epoch_{complete}.pth'} if complete else set()
        if not (before and not named) and epoch > 1:  # this epoch's is there, not yet deleted
            expected.add(f'epoch_{epoch - 1}.pth')
        assert set(names(runner)) == expected
        for name in expected:
            meta = torch.load(Path(runner.work_dir, name), weights_only=False)['meta']
            assert name == f'epoch_{meta["epoch"]}.pth'
        noted = Path(runner.work_dir, 'last_checkpoint')
        assert not noted.exists() or Path(runner.work_dir, noted.read_text()).is_file()


def test_what_a_crash_did_not_delete_is_deleted_by_the_resumed_run(run):
    runner = run(crash=5, before=False, max_keep_ckpts=1)  # epoch_3 is there, epoch_2 still is
    assert names(runner) == ['epoch_2.pth', 'epoch_3.pth']
    Path(runner.work_dir, 'last_checkpoint').write_text(f'{runner.work_dir}/epoch_3.pth')
    Path(runner.work_dir, '.epoch_4.pth.saving').write_text('half')
    assert names(run(resume=True, max_keep_ckpts=1)) == ['epoch_4.pth']
    assert not list(Path(runner.work_dir).glob('.*.saving'))


@pytest.fixture
def validated(toy_images):
    """Settings of a validation whose score is the next one of a list."""
    scores = []

    @METRICS.register_module(force=True)
    class Scored(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(0)

        def compute_metrics(self, results):
            return dict(accuracy=scores.pop(0))

    def make(*values):
        scores[:] = values
        return dict(val_cfg=dict(), val_evaluator=dict(type='Scored'), val_dataloader=dict(
            batch_size=4, num_workers=0, dataset=toy_images(4),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate')))

    yield make
    METRICS.module_dict.pop('Scored')


@pytest.fixture
def no_val_step(monkeypatch):
    from amt_mm.models import AMTMAE
    monkeypatch.setattr(AMTMAE, 'val_step', lambda self, data: [0], raising=False)


def test_the_former_best_goes_after_the_new_one(run, validated, no_val_step):
    settings = dict(save_best='accuracy', rule='greater', max_keep_ckpts=1)
    runner = run(epochs=3, changes=validated(.5, .4, .6), **settings)
    assert names(runner) == ['best_accuracy_epoch_3.pth', 'epoch_3.pth']
    # Renames of epoch 3: 7 epoch, 8 note, 9 best, 10 epoch, 11 note.
    for crash in (9, 10):
        runner = run(f'crash{crash}', epochs=3, crash=crash, changes=validated(.5, .4, .6),
                     **settings)
        assert 'best_accuracy_epoch_1.pth' in names(runner)


def test_a_state_between_epochs_is_saved_once_and_goes_when_the_next_is_there(run):
    runner = run(epochs=2, max_keep_ckpts=1)
    hook, = (hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    stamp = Path(runner.work_dir, 'epoch_2.pth').stat().st_mtime_ns
    assert hook.save_between(runner, 2, runner.iter, inside=False).endswith('epoch_2.pth')
    assert Path(runner.work_dir, 'epoch_2.pth').stat().st_mtime_ns == stamp
    path = hook.save_between(runner, 2, 7, inside=True)
    assert path.endswith('/iter_7.pth') and names(runner) == ['epoch_2.pth', 'iter_7.pth']
    meta = torch.load(path, weights_only=False)['meta']
    assert (meta['epoch'], meta['iter']) == (2, 7)
    hook._save_checkpoint_with_step(runner, 3, dict(epoch=3, iter=9))
    assert names(runner) == ['epoch_3.pth']


def test_without_a_limit_all_stay(run):
    runner = run(epochs=1)
    hook, = (hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    hook.save_between(runner, 1, 4, inside=True)
    hook._save_checkpoint_with_step(runner, 2, dict(epoch=2, iter=6))
    assert names(runner) == ['epoch_1.pth', 'epoch_2.pth', 'iter_4.pth']
