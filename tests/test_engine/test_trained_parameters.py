"""TrainedOptimWrapperConstructor against MMEngine's own, and what it says."""

import copy
import logging

import pytest
from distillation_toys import MODEL
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS

import amt_mm.engine  # noqa: F401  (registers the constructor)

WRAPPER = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.04),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.,
                       custom_keys=dict(mask_token=dict(lr_mult=.5))))


@pytest.fixture
def said(monkeypatch):
    """What is logged: level and text."""
    lines = []

    def note(text, logger=None, level=logging.INFO):
        lines.append((level, text))

    for module in ('mmengine.optim.optimizer.default_constructor',
                   'amt_mm.engine.trained_parameters'):
        monkeypatch.setattr(f'{module}.print_log', note)
    return lines


def build(**wrapper):
    model = MODELS.build(copy.deepcopy(MODEL))
    model.head.mlp[0].bias.requires_grad = False
    return build_optim_wrapper(model, {**WRAPPER, **wrapper}), model


def test_the_same_groups_and_one_line_for_the_teacher(said):
    plain, _ = build()
    noisy = list(said)
    said.clear()
    quiet, model = build(constructor='amt_mm.TrainedOptimWrapperConstructor')

    def groups(wrapper):
        return [{**group, 'params': [p.shape for p in group['params']]}
                for group in wrapper.param_groups]

    assert groups(quiet) == groups(plain)
    number = len(list(model.teacher.parameters()))
    of_teacher = [line for line in said if 'teacher' in line[1]]
    assert len(of_teacher) == 1 and f'{number} parameters' in of_teacher[0][1]
    # All else is said as before, of one that does not learn among others too.
    rest = [line for line in said if line not in of_teacher]
    assert rest == [line for line in noisy if not line[1].startswith('teacher.')]
    assert [text for level, text in rest if level == logging.WARNING] == [
        'head.mlp.0.bias is skipped since its requires_grad=False']


def test_a_head_that_is_frozen_too(said):
    model = MODELS.build(copy.deepcopy(MODEL))
    model.head.requires_grad_(False)
    build_optim_wrapper(model, {**WRAPPER, 'constructor': 'amt_mm.TrainedOptimWrapperConstructor'})
    assert [text.partition(':')[0] for _, text in said if 'none of its' in text] == [
        'head', 'teacher']
