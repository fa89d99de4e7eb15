"""Schedules of the optimiser's settings: advance one to a step, and compare two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler

# Entries of a scheduler's state that count steps or metrics, or follow from compared ones.
_NOT_COMPARED = {'last_step', '_global_step', '_last_value', 'verbose', 'base_values',
                 'total_iters', 'best', 'num_bad_epochs', 'cooldown_counter'}


def optim_wrappers(wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """The wrappers of all optimisers, of which a run may have several."""
    return [*wrapper.values()] if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def play(schedulers: Iterable[_ParamScheduler], epochs: int, iterations: int, length: int) -> None:
    """Advance schedulers from the first step of training to a later one.

    MMEngine's schedulers compute each value from the previous one, in the order of their list.
    Making all the steps of an uninterrupted run therefore gives its values bit for bit.

    Args:
        schedulers: Just built.
        epochs: Complete epochs; 0 if the training loop counts iterations only.
        iterations: Complete iterations.
        length: Iterations of an epoch.
    """
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    for scheduler in (*by_epoch, *by_iteration):
        # Otherwise they warn that they are stepped before the optimiser.
        scheduler.optimizer._global_step = iterations
    for epoch in range(epochs + 1):
        for _ in range(length if epoch < epochs else iterations - epochs * length):
            for scheduler in by_iteration:
                scheduler.step()
        for scheduler in by_epoch if epoch < epochs else ():
            scheduler.step()


def settings(group: Mapping[str, Any]) -> dict[str, float | tuple]:
    """Numeric settings of a parameter group: learning rate, betas and so on."""
    return {name: value for name, value in group.items() if name != 'params' and all(
        isinstance(part, (int, float)) and not isinstance(part, bool)
        for part in (value if isinstance(value, (list, tuple)) else [value]))}


def differences(schedulers: Sequence[_ParamScheduler], groups: Sequence[Mapping],
                states: Sequence[Mapping], saved_groups: Sequence[Mapping]) -> list[str]:
    """List how schedules differ from saved ones, whatever their current steps.

    Args:
        schedulers: As built from a config.
        groups: The optimiser's parameter groups.
        states: States of the saved schedulers.
        saved_groups: The saved groups, one for each of ``groups``.

    Returns:
        Such as ``'param_scheduler.1.end 24 -> 48'``; empty if nothing differs.
    """
    found = []
    if len(states) != len(schedulers):
        found.append(f'schedulers {len(states)} -> {len(schedulers)}')
    for i, (scheduler, saved) in enumerate(zip(schedulers, states, strict=False)):
        own = scheduler.state_dict()
        found += [f'param_scheduler.{i}.{name} {saved.get(name)} -> {own.get(name)}'
                  for name in sorted((own.keys() | saved.keys()) - _NOT_COMPARED)
                  if own.get(name) != saved.get(name)]
    moved = {scheduler.param_name for scheduler in schedulers}
    if 'momentum' in moved:
        moved.add('betas')  # where it is Adam's
    for group, saved in zip(groups, saved_groups, strict=True):
        found += [f'{name.removeprefix("initial_")} {saved.get(name)} -> {value}'
                  for name, value in settings(group).items()
                  if name not in moved and value != saved.get(name)]
    return list(dict.fromkeys(found))
