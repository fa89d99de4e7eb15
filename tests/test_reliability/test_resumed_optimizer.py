"""What is no state of the optimiser or of a schedule is refused before a step is made with it."""

import copy

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.reliability.resumed_optimizer import check_form, check_schedules, check_values


def optimizer(kind=torch.optim.AdamW, **settings):
    """One that has made a step with two groups of parameters of two shapes."""
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 3), (3, ), (2, ))]
    made = kind([dict(params=parameters[:2]), dict(params=parameters[2:], lr=.5)], lr=.1,
                **settings)
    sum(each.square().sum() for each in parameters).backward()
    made.step()
    return made


def check(state, made):
    check_form(state)
    check_values(state, made.param_groups)


@pytest.mark.parametrize(('kind', 'settings'), [
    (torch.optim.AdamW, {}), (torch.optim.AdamW, dict(amsgrad=True)), (torch.optim.SGD, {}),
    (torch.optim.SGD, dict(momentum=.9)), (torch.optim.RMSprop, {}), (torch.optim.Adagrad, {}),
    (torch.optim.Adafactor, {})])
def test_what_torch_writes_is_taken(kind, settings):
    made = optimizer(kind, **settings)
    check(made.state_dict(), made)
    # Before the first step.
    check({**made.state_dict(), 'state': {}}, made)


@pytest.mark.parametrize('state', [
    None, [1], 'x', {}, {'state': {}}, {'state': [], 'param_groups': []},
    {'state': {0: 'x'}, 'param_groups': []}, {'state': {}, 'param_groups': {}},
    {'state': {}, 'param_groups': [1]}, {'state': {}, 'param_groups': [{'lr': .1}]},
    {'state': {}, 'param_groups': [{'lr': '.1', 'params': [0]}]},
    {'state': {}, 'param_groups': [{'lr': .1, 'params': ['0']}]}])
def test_another_form_is_refused(state):
    with pytest.raises(InputError, match='the optimiser of the checkpoint is not what'):
        check_form(state)


@pytest.mark.parametrize(('name', 'value'), [
    ('exp_avg', torch.zeros(3, 2)), ('exp_avg', torch.zeros(2, 3, dtype=torch.int64)),
    ('exp_avg', 5), ('exp_avg', None), ('step', 'x'), ('step', torch.tensor(-5.)),
    ('step', torch.zeros(2))])
def test_values_of_another_kind_are_refused(name, value):
    made = optimizer()
    state = copy.deepcopy(made.state_dict())
    state['state'][0][name] = value
    with pytest.raises(InputError, match=rf'no {name} that fits parameter'):
        check(state, made)


def test_values_of_no_parameter_and_missing_ones_are_refused():
    made = optimizer()
    state = copy.deepcopy(made.state_dict())
    state['state'][99] = state['state'].pop(2)
    with pytest.raises(InputError, match='fits parameter 99'):
        check(state, made)
    state = copy.deepcopy(made.state_dict())
    del state['state'][1]['exp_avg']
    with pytest.raises(InputError, match='no exp_avg that fits parameter 1'):
        check(state, made)


@pytest.mark.parametrize(('kind', 'settings', 'name'), [
    (torch.optim.AdamW, {}, 'exp_avg'), (torch.optim.AdamW, {}, 'step'),
    (torch.optim.Adam, dict(amsgrad=True), 'max_exp_avg_sq'),
    (torch.optim.SGD, dict(momentum=.9), 'momentum_buffer')])
def test_a_value_that_all_parameters_lack_is_refused(kind, settings, name):
    made = optimizer(kind, **settings)
    state = copy.deepcopy(made.state_dict())
    for values in state['state'].values():
        del values[name]
    with pytest.raises(InputError, match=f'no {name} that fits parameter'):
        check(state, made)


@pytest.mark.parametrize(('kind', 'settings'), [
    (torch.optim.AdamW, {}), (torch.optim.SGD, dict(momentum=.9))])
def test_a_run_of_many_steps_has_a_state(kind, settings):
    made = optimizer(kind, **settings)
    state = {**made.state_dict(), 'state': {}}
    check_values(state, made.param_groups, steps=40)  # all of them may have been skipped
    with pytest.raises(InputError, match='has no state after 41 steps'):
        check_values(state, made.param_groups, steps=41)


def test_plain_descent_has_no_state():
    made = optimizer(torch.optim.SGD)
    check_values({**made.state_dict(), 'state': {}}, made.param_groups, steps=10**6)


@pytest.mark.parametrize('name', ['capturable', 'differentiable', 'foreach',
                                  'decoupled_weight_decay'])
def test_how_it_computes_is_for_this_run_to_say(name):
    made = optimizer()
    state = copy.deepcopy(made.state_dict())
    before = made.param_groups[0][name]
    state['param_groups'][0][name] = 'x' if name == 'foreach' else not before
    check(state, made)
    made.load_state_dict(state)
    assert made.param_groups[0][name] == before
    made.step()


def test_fused_is_the_checkpoints_but_a_switch():
    made = optimizer()
    state = copy.deepcopy(made.state_dict())
    state['param_groups'][0]['fused'] = True
    check(state, made)
    assert state['param_groups'][0]['fused'] is True
    state['param_groups'][0]['fused'] = torch.ones(2)
    with pytest.raises(InputError, match='has fused of type Tensor'):
        check(state, made)


def test_a_switch_of_another_optimizer_is_refused():
    made = optimizer()
    state = copy.deepcopy(made.state_dict())
    state['param_groups'][1]['maximize'] = True
    with pytest.raises(InputError, match="has maximize=True, and the config's False"):
        check(state, made)


@pytest.mark.parametrize('states', [
    'x', [1], {'a': 1}, [{'last_step': 'x'}], [{'_global_step': -1}], [{'base_values': [[1]]}],
    [{'_last_value': 'ab'}]])
def test_schedules_of_another_form_are_refused(states):
    with pytest.raises(InputError, match='its param_schedulers is'):
        check_schedules(states)
    check_schedules(None)
    check_schedules([{'last_step': 3, 'base_values': [.1, .2], '_last_value': [.1, 0]}])
    check_schedules({'a': [{'last_step': 3}]})
