"""ScheduleHook: a resumed run goes by the schedule of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict, _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.errors import InputError
from amt_mm.registry import HOOKS

from .schedules import differences, play, settings

# Of the differences, so many are named.
_SHOWN = 4
_ANEW = 'or start again from its weights with --cfg-options load_from=CHECKPOINT'


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Let a resumed run go on by the schedule of its config, from the step where it stands.

    MMEngine takes schedulers and the optimiser's settings from the checkpoint as they are,
    so a run with more epochs would train on at the last learning rate of the old schedule.
    Here each setting becomes what an unbroken run of the new config has at this step:
    learning rates, weight decays, momenta. One line says what has changed. Without a
    change all comes from the checkpoint, bit for bit; whether the optimiser is fused does
    in any case.

    Where an epoch has another number of iterations than before, iterations are counted as
    if it had always had it. The last checkpoint of a finished run that is extended is not
    deleted for ``max_keep_ckpts``.

    Raises:
        InputError: Nothing is left to train; the checkpoint is of another optimiser, or
            from within a cycle of accumulation that was of another length; the changed
            schedule follows a metric, or has come to its end before training does.
    """

    # After those that refuse a checkpoint, before those that save or refresh.
    priority = 'HIGH'

    def __init__(self) -> None:
        self._changed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Bring what a checkpoint says of the schedule up to the config, before it is used."""
        if not runner._resume:
            return
        # As MMEngine does next; they are, unless training has not been asked for yet.
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        if runner.param_schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        meta, config = checkpoint['meta'], read_config_text(checkpoint['meta'].get('cfg'))
        name, counter, last = _counted(runner)
        before = (config.get('train_cfg') or {}).get(name)
        changes = [f'{name} {before} -> {last}'] if before not in (None, last) else []
        changes += _recount(runner, checkpoint)
        saved = []
        if 'optimizer' in checkpoint:
            _refuse_open_cycle(runner, checkpoint, config)
            saved = _saved_groups(runner, checkpoint['optimizer'])
            changes += differences(_flat(runner.param_schedulers), _groups(runner),
                                   _flat(checkpoint.get('param_schedulers')), saved)
        else:
            changes.append('no optimizer state; the optimizer starts fresh')
        self._changed = bool(changes)
        if meta[counter] >= last:
            line = f'nothing is left to train: train_cfg.{name}={last}, {meta[counter]} are done'
            if meta[counter] > last or changes:
                raise InputError(f'{line}; set a larger number, or train in another --work-dir')
            runner.logger.warning(line)
        if changes:
            _take_new(runner, checkpoint, saved, changes)
        if before != last:
            _keep_finished(checkpoint, meta[counter] == before)

    def before_train(self, runner: Runner) -> None:
        """Say where the learning rate comes down for good before training ends."""
        schedulers = _flat(runner.param_schedulers)
        length = len(runner.train_dataloader)
        ends = {i: scheduler.end * (length if scheduler.by_epoch else 1)
                for i, scheduler in enumerate(schedulers) if scheduler.param_name == 'lr'}
        last = max(ends, key=ends.get, default=None)
        if last is None or ends[last] >= runner.max_iters or not hasattr(schedulers[last],
                                                                         'eta_min'):
            return
        line = (f'param_scheduler.{last} has brought the learning rate down for good at iteration '
                f'{ends[last]} of {runner.max_iters}: if that is not meant, let its end and T_max '
                'fit train_cfg, with --cfg-options param_scheduler.'
                f'{last}.end=... param_scheduler.{last}.T_max=...')
        if self._changed and runner.iter >= ends[last]:
            raise InputError(f'nothing is left of the schedule to train by: {line}')
        runner.logger.warning(line)


def _counted(runner: Runner) -> tuple[str, str, int]:
    """What the training loop counts: the setting's name, the checkpoint's counter, the end."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return 'max_epochs', 'epoch', runner.max_epochs
    return 'max_iters', 'iter', runner.max_iters


def _recount(runner: Runner, checkpoint: dict) -> list[str]:
    """Count iterations as if each epoch had always had as many as now."""
    meta, position = checkpoint['meta'], checkpoint.get('amt_position')
    length = len(runner.train_dataloader)
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or not meta['epoch']:
        return []
    if position is None:
        before = meta['iter'] // meta['epoch']
        same = 0 <= meta['iter'] - meta['epoch'] * length <= length
    else:
        before = position['batches']
        # Within an epoch, another number is refused when the position is taken up.
        same = position['batch'] or before == length
    if same:
        return []
    meta['iter'] = meta['epoch'] * length
    return [f'iterations of an epoch {before} -> {length}']


def _refuse_open_cycle(runner: Runner, checkpoint: dict, config: Mapping) -> None:
    before = (config.get('optim_wrapper') or {}).get('accumulative_counts')
    now = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    if checkpoint.get('amt_open_gradients') and before not in (None, now):
        raise InputError(f'the checkpoint was saved within a cycle of {before} batches whose '
                         f'gradients are accumulated, and optim_wrapper.accumulative_counts={now}: '
                         'resume it as it was, or from a checkpoint at the end of a cycle')


def _flat(of: Mapping | Sequence | None) -> list:
    """Schedulers, or their states; those of several optimisers one after the other."""
    return [each for part in of.values() for each in part] if isinstance(of, Mapping) else of or []


def _groups(runner: Runner) -> list[dict]:
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [group for each in wrappers for group in each.param_groups]


def _saved_groups(runner: Runner, optimizer: Mapping) -> list[dict]:
    """Groups of parameters in a checkpoint, one for each of the optimiser's.

    Raises:
        InputError: They are of another optimiser.
    """
    saved = []
    for each in optimizer.values() if isinstance(runner.optim_wrapper, OptimWrapperDict) else [
            optimizer]:
        saved += [*each['param_groups'], *filter(None, [each.get('base_param_settings')])]
    groups = _groups(runner)
    if [len(group['params']) for group in groups] != [len(group['params']) for group in saved]:
        raise InputError(f"the checkpoint's optimizer has {len(saved)} groups of parameters, and "
                         f'the config\'s {len(groups)}, or groups of other sizes: resume with the '
                         f'same model, optim_wrapper.optimizer and paramwise_cfg, {_ANEW}')
    scheduled = {scheduler.param_name for scheduler in _flat(runner.param_schedulers)}
    missing = sorted(name for name in settings(groups[0]).keys() - saved[0].keys() - scheduled
                     if not name.startswith('initial_'))
    if missing:
        raise InputError(f"the checkpoint's optimizer is another one, without {missing[0]}: resume "
                         f'with the same optim_wrapper.optimizer.type, {_ANEW}')
    return saved


def _take_new(runner: Runner, checkpoint: dict, saved: Sequence[dict], changes: Sequence[str]
              ) -> None:
    """Replace the schedule in a checkpoint by the config's, played to the checkpoint's step."""
    meta, schedulers, groups = checkpoint['meta'], _flat(runner.param_schedulers), _groups(runner)
    if any(hasattr(scheduler, 'need_val_args') for scheduler in schedulers):
        raise InputError(f"the schedule differs from the checkpoint's ({changes[0]}), and it "
                         'follows a metric, so its current position is unknown: resume with the '
                         'schedule as it was')
    rate = max((group['lr'] for group in saved), default=None)
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    play(schedulers, meta['epoch'] if by_epoch else 0, meta['iter'], len(runner.train_dataloader))
    for group, before in zip(groups, saved, strict=bool(saved)):
        for name in settings(before).keys() - settings(group).keys():
            del before[name]
        before.update(settings(group))
    if runner.param_schedulers is not None:
        checkpoint['param_schedulers'] = _states(runner.param_schedulers)
    new_rate = max(group['lr'] for group in groups)
    more = f' and {len(changes) - _SHOWN} more' if len(changes) > _SHOWN else ''
    runner.logger.warning(
        f"the schedule differs from the checkpoint's ({', '.join(changes[:_SHOWN])}{more}): at "
        f'iteration {meta["iter"]} training continues at that point of the new one, with a '
        f'learning rate of {new_rate:.3g}'
        + (f' instead of {rate:.3g}' if rate not in (None, new_rate) else ''))


def _states(schedulers: Mapping | Sequence[_ParamScheduler]) -> dict | list[dict]:
    if isinstance(schedulers, Mapping):
        return {name: _states(part) for name, part in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def _keep_finished(checkpoint: dict, finished: bool) -> None:
    """Take the result of a finished run out of the list of checkpoints that will be deleted."""
    meta = checkpoint['meta']
    kept = checkpoint['message_hub']['runtime_info'].get('keep_ckpt_ids', [])
    if finished:
        kept[:] = [step for step in kept if step not in (meta['epoch'], meta['iter'])]
