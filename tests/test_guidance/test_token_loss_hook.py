"""TokenLossHook: which losses reach which map, when they guide, and what a resumed run does."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torchrun import in_two_real_processes

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook, TokenLossHook
from amt_mm.reliability import StepSeedHook
from amt_mm.saliency import SaliencyStore

GUIDED, WARMUP = 15, 26
ALL = torch.arange(7)


def maps_of(path):
    return SaliencyStore(path).lookup(ALL)


def hooks(begin=2):
    return [StepSeedHook(), TokenLossHook(begin)]


class Losses(Hook):
    """The losses of each token, computed from the predictions of the decoder."""

    def __init__(self):
        self.steps = []

    def before_train(self, runner):
        def record(_, args, pred):
            self.pred = pred.detach()

        runner.model.neck.register_forward_hook(record)
        runner.model.register_forward_hook(self.note, with_kwargs=True)

    def note(self, model, args, kwargs, output):
        plan, images = kwargs['plan'], args[0] if args else kwargs['inputs']
        losses = torch.zeros(plan.masked.shape)
        for b, ids in enumerate(plan.masked.tolist()):
            for k, i in enumerate(ids):
                row, column = divmod(i, 7)
                patch = images[b, :, 8 * row:8 * row + 8, 8 * column:8 * column + 8]
                patch = patch.permute(1, 2, 0).flatten()
                patch = (patch - patch.mean()) / (patch.var() + 1e-6)**.5
                losses[b, k] = ((self.pred[b, k] - patch)**2).mean()
        self.steps.append((plan.masked.clone(), losses, float(output['loss'])))


def test_a_whole_image_crop_puts_each_loss_where_its_patch_is(toy_runner, toy_images):
    """Every crop is the whole image, mirrored: the map is a moving average a hand can do."""
    pipeline = [dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56),
                     crop_ratio_range=(1., 1.), aspect_ratio_range=(7 / 5, 7 / 5)),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
                dict(type='amt_mm.PackInputsWithBox')]
    images = [image[:40, :56] for image in toy_images(7).images]
    watch, hook = Losses(), TokenLossHook(begin=9, momentum=.6)
    runner = toy_runner(hooks=[watch, hook], dataset=toy_images(images, pipeline), epochs=2)
    runner.train()
    wanted = torch.full((7, 5, 7), .5)
    for (masked, losses, loss), step in zip(watch.steps, runner.recorder.steps, strict=True):
        assert float(losses.mean()) == pytest.approx(loss, rel=1e-4)
        for b, sample in enumerate(step['sample_idx']):
            assert step['crop_box'][b] == pytest.approx((0, 0, 1, 1))
            for i, value in zip(masked[b].tolist(), losses[b], strict=True):
                hardness = value / (value + losses.mean())
                row, column = i // 7, 6 - i % 7
                wanted[sample, row, column] += .4 * (hardness - wanted[sample, row, column])
    torch.testing.assert_close(hook.maps.lookup(ALL), wanted, rtol=0, atol=2e-3)
    assert (wanted != .5).float().mean() > .8


@pytest.mark.parametrize('begin', [0, 2])
def test_masks_are_random_before_the_beginning_and_follow_the_maps_after(toy_runner, begin):
    runner = toy_runner(hooks=hooks(begin), epochs=3)
    runner.train()
    for step in runner.recorder.steps:
        assert step['masked'].shape[1] == (GUIDED if step['epoch'] >= begin else WARMUP)
        # The maps that a batch is planned with hold the losses of the one before.
        assert step['map_step'] == (step['iter'] if step['epoch'] >= begin else None)


def test_losses_draw_nothing_and_change_no_step_before_they_guide(toy_runner):
    plain = toy_runner('plain', [StepSeedHook()], epochs=2)
    plain.train()
    noting = toy_runner('noting', hooks(9), epochs=2)
    noting.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, noting.model.state_dict()[name]), name
    assert not noting.model.report_token_losses and not noting.model._forward_hooks


@pytest.mark.parametrize('start', [1, 3])
def test_a_resumed_run_equals_an_unbroken_one(toy_runner, start):
    whole = toy_runner('whole', hooks(), epochs=4)
    whole.train()
    # Elsewhere: the maps come along from beside the checkpoint.
    resumed = toy_runner('resumed', hooks(), epochs=4, resume=True,
                         load_from=f'{whole.work_dir}/epoch_{start}.pth')
    resumed.train()
    for step, wanted in zip(resumed.recorder.steps, whole.recorder.steps[3 * start:], strict=True):
        assert torch.equal(step['masked'], wanted['masked']), step['iter']
        assert step['map_step'] == wanted['map_step']
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    ends = [maps_of(Path(r.work_dir) / 'saliency' / 'losses_12.amtmap') for r in (whole, resumed)]
    assert torch.equal(*ends) and not torch.equal(ends[0], torch.full_like(ends[0], .5))


def test_files_are_kept_as_long_as_their_checkpoints(toy_runner):
    checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)
    runner = toy_runner('run', hooks(), epochs=5, default_hooks=dict(
        logger=None, checkpoint=checkpoint))
    runner.train()
    folder = Path(runner.work_dir)
    kept = {torch.load(path, weights_only=False)['amt_token_losses']['file']
            for path in folder.glob('epoch_*.pth')}
    assert kept == {'losses_12.amtmap', 'losses_15.amtmap'}
    files = {path.name for path in (folder / 'saliency').iterdir()}
    assert files == kept | {'losses_9.amtmap'}


class Crash(Exception):
    pass


@pytest.mark.parametrize('at', [4, 5])
def test_every_checkpoint_has_its_maps_however_it_was_saved(toy_runner, monkeypatch, at):
    """One is off the schedule, and the run dies before each save is complete."""
    from amt_mm.engine import runner as of_runner

    checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    runner = toy_runner('run', hooks(), epochs=6, default_hooks=dict(
        logger=None, checkpoint=checkpoint))
    safe = next(hook for hook in runner.hooks if hasattr(hook, 'save_between'))
    folder, saves, whole = Path(runner.work_dir), [], of_runner.atomic_file

    def missing():
        named = [torch.load(path, weights_only=False)['amt_token_losses']['file']
                 for path in folder.glob('*.pth')]
        return [name for name in named if not (folder / 'saliency' / name).is_file()]

    @contextmanager
    def dying(path):
        with whole(path) as temporary:
            saves.append(path)
            yield temporary
            assert missing() == []
            if len(saves) == at:
                raise Crash

    class Between(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter in (4, 7):
                safe.save_between(runner, runner.epoch, runner.iter + 1, True)

    monkeypatch.setattr(of_runner, 'atomic_file', dying)
    runner.register_hook(Between(), priority='LOWEST')
    with pytest.raises(Crash):
        runner.train()
    assert missing() == [] and any(folder.glob('*.pth'))


def test_a_missing_or_foreign_map_file_is_named_on_resume(toy_runner):
    toy_runner('run', hooks(), epochs=2).train()
    stranger = toy_runner('stranger', hooks(), epochs=2, seed=1)
    stranger.train()
    path = Path(stranger.work_dir).parent / 'run' / 'saliency' / 'losses_6.amtmap'
    path.write_bytes((Path(stranger.work_dir) / 'saliency' / path.name).read_bytes())
    named = str(path.parents[1] / 'epoch_2.pth')
    with pytest.raises(InputError, match=r'losses_6\.amtmap: these are not'):
        toy_runner('run', hooks(), epochs=3, resume=True, load_from=named).train()
    path.unlink()
    with pytest.raises(InputError, match=r'losses_6\.amtmap.*run/saliency'):
        toy_runner('run', hooks(), epochs=3, resume=True, load_from=named).train()


def test_a_checkpoint_without_loss_maps_is_warned_of(toy_runner, monkeypatch):
    toy_runner('run', [StepSeedHook()], epochs=1).train()
    runner = toy_runner('run', hooks(0), epochs=2, resume=True)
    said = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: said.append(text))
    runner.train()
    assert sum('has no loss maps' in text for text in said) == 1
    assert [step['map_step'] for step in runner.recorder.steps] == [0, 1, 2]


@pytest.mark.parametrize(('preprocessor', 'extra', 'message'), [
    (dict(mask_generator=dict(type='amt_mm.RandomMaskGenerator')), [], 'uses no weights'),
    (dict(), [SaliencyUpdateHook(1)], 'both guide'),
    (dict(_delete_=True), [], 'AMTDataPreprocessor., not SelfSup')])
def test_an_unsuitable_set_up_is_named(toy_runner, toy_mae, preprocessor, extra,
                                                  message):
    model = toy_mae(build=False, data_preprocessor=preprocessor)
    if '_delete_' in preprocessor:
        model['data_preprocessor'] = dict(type='SelfSupDataPreprocessor')
    with pytest.raises(InputError, match=message):
        toy_runner(hooks=[TokenLossHook(), *extra], model=model).train()


def test_a_pipeline_whose_flips_are_not_all_recorded_is_refused(toy_runner, toy_images):
    """The second flip would put losses where their patches are not."""
    flip = dict(type='RandomFlip', prob=.5)
    pipeline = [dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56)), flip, flip,
                dict(type='amt_mm.PackInputsWithBox')]
    with pytest.raises(InputError, match='flips twice'):
        toy_runner(hooks=[TokenLossHook()], dataset=toy_images(7, pipeline)).train()


@pytest.mark.parametrize('settings', [
    dict(begin=-1), dict(begin=.5), dict(begin=None), dict(by_epoch='no'), dict(momentum=1.0),
    dict(momentum=-.1), dict(momentum='.9')])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=f'^{next(iter(settings))}='):
        TokenLossHook(**settings)


@pytest.mark.slow
def test_two_processes_hold_the_same_maps_of_all_samples(tmp_path):
    """7 samples for 2 processes, of which each sees 4 an epoch."""
    script = Path(__file__).parent / 'two_processes_token_loss.py'
    in_two_real_processes(script, tmp_path)
    ranks = [torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1)]
    assert [rank['step'] for rank in ranks] == [4, 4]
    assert torch.equal(ranks[0]['maps'], ranks[1]['maps'])
    assert ((ranks[0]['maps'] != .5).flatten(1).sum(dim=1) > 0).all()
    # The file of the last checkpoint holds them too, written by one process.
    assert torch.equal(maps_of(tmp_path / 'saliency' / 'losses_4.amtmap'), ranks[0]['maps'])
