"""What a checkpoint may restore in the optimiser and its schedules.

torch and MMEngine take over whatever is there; what is of another kind fails steps later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from amt_mm.checkpoints.records import are_steps, check_record, is_step
from amt_mm.checks import is_number
from amt_mm.errors import InputError

# Values of torch's optimisers that are as many as those of their parameter.
_LIKE_PARAMETERS = ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'momentum_buffer')
# Settings that make another optimiser.
_SWITCHES = ('amsgrad', 'maximize', 'nesterov')
# Settings of how, not what, it computes: those of this run. The schedule hook leaves `fused` to the
# checkpoint, since the last bits depend on it.
_OF_THE_RUN = ('capturable', 'differentiable', 'foreach', 'decoupled_weight_decay')
# After more steps, at least one was not skipped: a gradient scaler stops the run by then.
_MOST_SKIPPED = 40


def check_form(state: object) -> None:
    """Check the form of an optimiser's state, before its groups are compared with the config's.

    Raises:
        InputError: It is not of torch's form.
    """
    check_record(
        state if not isinstance(state, dict) else {
            name: state.get(name) for name in ('state', 'param_groups')},
        {'state': lambda value: isinstance(value, dict) and all(
            isinstance(values, dict) for values in value.values()),
         'param_groups': lambda groups: isinstance(groups, list) and all(map(_is_group, groups))},
        'the optimiser of the checkpoint')


def check_values(state: Mapping, groups: Sequence[Mapping], steps: int = 0) -> None:
    """Check the values of an optimiser's state; how it computes becomes this run's.

    Args:
        state: Of the right form; its groups are changed in place.
        groups: The optimiser's parameter groups, of as many parameters.
        steps: Number of steps that were made. Defaults to 0.

    Raises:
        InputError: A value does not belong to a parameter, is of another shape or type, or is
            missing; or a switch of a group is not the config's.
    """
    parameters = {number: parameter for saved, group in zip(
        state['param_groups'], groups, strict=True)
        for number, parameter in zip(saved['params'], group['params'], strict=True)}
    needed = {number: _needed(saved, group) for saved, group in zip(
        state['param_groups'], groups, strict=True) for number in saved['params']}
    if steps > _MOST_SKIPPED and not state['state'] and any(needed.values()):
        raise InputError(f"the checkpoint's optimiser has no state after {steps} steps: it was "
                         'damaged or changed; use another one')
    # Other values may differ between matrices and vectors.
    names = {*_LIKE_PARAMETERS, 'step'} & next(iter(state['state'].values()), {}).keys()
    for number, values in state['state'].items():
        wrong = next((name for name in names | values.keys() | needed.get(number, {'parameter'})
                      if number not in parameters or name not in values
                      or not _fits(name, values[name], parameters[number])), None)
        if wrong is not None:
            raise InputError(f"the checkpoint's optimiser has no {wrong} that fits parameter "
                             f'{number}: it was damaged or changed; use another one')
    for saved, group in zip(state['param_groups'], groups, strict=True):
        saved.update({name: group[name] for name in _OF_THE_RUN if name in group})
        if type(saved.get('fused', False)) not in (bool, type(None)):
            raise InputError("the checkpoint's optimiser has fused of type "
                             f'{type(saved["fused"]).__name__}: it was damaged or changed; use '
                             'another one')
        for name in _SWITCHES:
            if name in group and saved.get(name) != group[name]:
                raise InputError(f"the checkpoint's optimiser has {name}={saved.get(name)}, and "
                                 f"the config's {group[name]}: resume it as it was")


def _needed(saved: Mapping, group: Mapping) -> set[str]:
    """What torch's own optimisers have of each parameter after a step."""
    if {'amsgrad', 'capturable'} <= group.keys():  # Adam and AdamW
        return {'step', 'exp_avg', 'exp_avg_sq', *['max_exp_avg_sq'] * bool(group['amsgrad'])}
    if {'nesterov', 'differentiable'} <= group.keys() and saved.get('momentum'):  # SGD
        return {'momentum_buffer'}
    return set()


def check_schedules(states: object) -> None:
    """Check the states of schedules, of one optimiser or of several by their names.

    Raises:
        InputError: They are not of MMEngine's form.
    """
    parts = states.values() if isinstance(states, dict) else [states or []]
    check_record({'param_schedulers': [*parts]}, {'param_schedulers': lambda parts: all(
        isinstance(part, list) and all(map(_is_schedule, part)) for part in parts)},
        'the checkpoint')


def _is_group(group: object) -> bool:
    return isinstance(group, dict) and are_steps(group.get('params')) and is_number(
        group.get('lr'))


def _is_schedule(state: object) -> bool:
    return isinstance(state, dict) and all(
        is_step(state[name]) for name in ('last_step', '_global_step') if name in state) and all(
        isinstance(state[name], list) and all(map(is_number, state[name]))
        for name in ('base_values', '_last_value') if name in state)


def _fits(name: str, value: object, parameter: Tensor) -> bool:
    if name in _LIKE_PARAMETERS:
        if value is None:
            return name == 'momentum_buffer'  # of SGD without momentum
        return (isinstance(value, Tensor) and value.is_floating_point()
                and value.shape == parameter.shape)
    if name == 'step':
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        return is_number(value) and value >= 0
    return True
