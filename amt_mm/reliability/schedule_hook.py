"""ScheduleHook: a resumed run follows the schedule of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict, _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.registry import HOOKS

from .resumed_info import check_meta
from .resumed_optimizer import check_form, check_schedules, check_values
from .schedules import differences, optim_wrappers, play, settings

# Of the differences, so many are named.
_SHOWN = 4
_ANEW = 'or start again from its weights with --cfg-options load_from=CHECKPOINT'


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Continue a resumed run by the schedule of its config, from the step it has reached.

    MMEngine restores schedulers and the optimiser's settings from the checkpoint, so a run with
    more epochs would continue at the last learning rate of the old schedule. Here each setting
    (learning rates, weight decays, momenta) becomes what an uninterrupted run of the new config
    has at this step, and one line of the log names the changes. If nothing has changed, all
    values are the checkpoint's, bit for bit. Whether the optimiser is fused always follows the
    checkpoint.

    If the number of iterations of an epoch has changed, iterations are recounted as if every
    epoch had had the new number. When a finished run is extended, its last checkpoint is exempt
    from ``max_keep_ckpts``.

    Raises:
        InputError: Nothing is left to train; the checkpoint is from another optimiser, or from
            within an accumulation cycle of another length; the changed schedule follows a
            metric, or ends before training does.
    """

    # After hooks that refuse a checkpoint, before those that save or refresh.
    priority = 'HIGH'

    def __init__(self) -> None:
        self._changed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the checkpoint's schedule by the config's, before it is restored."""
        if not runner._resume:
            return
        check_meta(checkpoint.get('meta'), str(runner._load_from))
        check_schedules(checkpoint.get('param_schedulers'))
        # As MMEngine does next, unless they are built already.
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
            saved = _saved_groups(runner, checkpoint)
            changes += differences(_flat(runner.param_schedulers), _groups(runner),
                                   _flat(checkpoint.get('param_schedulers')), saved)
        else:
            changes.append('no optimiser state; the optimiser starts fresh')
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
        """Warn if the learning rate never rises, or is at its final value before training ends."""
        schedulers = _flat(runner.param_schedulers)
        for i, scheduler in enumerate(schedulers):
            # MMEngine's LinearLR multiplies by its start at its first step, and the factors of the
            # steps after that, of which there are none, would lead from there to its end.
            if (getattr(scheduler, 'total_iters', None) == 0
                    and getattr(scheduler, 'start_factor', 1) < 1):
                runner.logger.warning(
                    f'param_scheduler.{i} lasts one step, in which the learning rate does not '
                    f'rise: it stays at {scheduler.start_factor:g} of its value to the end of '
                    f'training; lengthen it, with --cfg-options param_scheduler.{i}.end=..., or '
                    'remove it')
        length = len(runner.train_dataloader)
        ends = {i: scheduler.end * (length if scheduler.by_epoch else 1)
                for i, scheduler in enumerate(schedulers) if scheduler.param_name == 'lr'}
        last = max(ends, key=ends.get, default=None)
        if last is None or ends[last] >= runner.max_iters or not hasattr(schedulers[last],
                                                                         'eta_min'):
            return
        line = (f'param_scheduler.{last} brings the learning rate to its final value at iteration '
                f'{ends[last]} of {runner.max_iters}: if that is not intended, adapt its end and '
                'T_max to train_cfg, with --cfg-options param_scheduler.'
                f'{last}.end=... param_scheduler.{last}.T_max=...')
        if self._changed and runner.iter >= ends[last]:
            raise InputError(f'nothing is left of the schedule to train by: {line}')
        runner.logger.warning(line)


def _counted(runner: Runner) -> tuple[str, str, int]:
    """What the training loop counts: name of the setting, counter in checkpoints, last value."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return 'max_epochs', 'epoch', runner.max_epochs
    return 'max_iters', 'iter', runner.max_iters


def _recount(runner: Runner, checkpoint: dict) -> list[str]:
    """Recount iterations as if each epoch had always had as many as now."""
    meta, position = checkpoint['meta'], checkpoint.get('amt_position')
    length = len(runner.train_dataloader)
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or not meta['epoch']:
        return []
    if position is None:
        before = meta['iter'] // meta['epoch']
        same = 0 <= meta['iter'] - meta['epoch'] * length <= length
    else:
        before = position['batches']
        # Within an epoch, ResumePositionHook refuses another number.
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
    """Schedulers or their states, those of several optimisers concatenated."""
    return [each for part in of.values() for each in part] if isinstance(of, Mapping) else of or []


def _groups(runner: Runner) -> list[dict]:
    return [group for each in optim_wrappers(runner.optim_wrapper) for group in each.param_groups]


def _saved_groups(runner: Runner, checkpoint: Mapping) -> list[dict]:
    """Parameter groups in a checkpoint, one for each of the optimiser's."""
    several, optimizer = isinstance(runner.optim_wrapper, OptimWrapperDict), checkpoint['optimizer']
    states = [*section(optimizer).values()] if several else [optimizer]
    saved = []
    for each in states:
        check_form(each)
        saved += [*each['param_groups'], *filter(None, [each.get('base_param_settings')])]
    groups = _groups(runner)
    if [len(group['params']) for group in groups] != [len(group['params']) for group in saved]:
        raise InputError(f"the checkpoint's optimiser has {len(saved)} groups of parameters, and "
                         f'the config\'s {len(groups)}, or groups of other sizes: resume with the '
                         f'same model, optim_wrapper.optimizer and paramwise_cfg, {_ANEW}')
    scheduled = {scheduler.param_name for scheduler in _flat(runner.param_schedulers)}
    missing = sorted(name for name in settings(groups[0]).keys() - saved[0].keys() - scheduled
                     if not name.startswith('initial_'))
    if missing:
        raise InputError(f"the checkpoint's optimiser is another one, without {missing[0]}: resume "
                         f'with the same optim_wrapper.optimizer.type, {_ANEW}')
    for each, wrapper in zip(states, optim_wrappers(runner.optim_wrapper), strict=True):
        # Of several, one may not have begun.
        steps = 0 if several else checkpoint['meta']['iter'] // wrapper._accumulative_counts
        check_values(each, wrapper.optimizer.param_groups, steps)
    return saved


def _take_new(runner: Runner, checkpoint: dict, saved: Sequence[dict], changes: Sequence[str]
              ) -> None:
    """Replace the schedule in a checkpoint by the config's, advanced to the checkpoint's step."""
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
    """Exempt the last checkpoint of a finished run from deletion."""
    meta = checkpoint['meta']
    kept = checkpoint['message_hub']['runtime_info'].get('keep_ckpt_ids', [])
    if finished:
        kept[:] = [step for step in kept if step not in (meta['epoch'], meta['iter'])]
