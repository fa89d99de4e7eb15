"""The hooks of distillation in a real run, against their formulas."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from distillation_toys import MODEL, multi_crop
from mmengine.hooks import Hook
from mmpretrain.registry import MODELS

from amt_mm.errors import InputError
from amt_mm.hooks import (
    ClipEachHook,
    FrozenLastLayerHook,
    TeacherTemperatureHook,
    TeacherUpdateHook,
)
from amt_mm.hooks.clip_each_hook import clip_each


class Watch(Hook):
    """Weights of student and teacher, and settings, around each step."""

    priority = 'LOWEST'

    def __init__(self):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = self._weights(runner)
        groups = runner.optim_wrapper.optimizer.param_groups
        self.decay = sorted({group['weight_decay'] for group in groups})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps.append(dict(
            before=self.before, after=self._weights(runner), epoch=runner.epoch,
            temperature=float(runner.model.teacher_temperature),
            decay=self.decay))

    def _weights(self, runner):
        return {name: p.detach().clone() for name, p in runner.model.named_parameters()}


@pytest.fixture
def distil(toy_runner, toy_images, monkeypatch):
    """The factory of watched runs of three epochs of three steps."""
    # PlanRecorder reads a plan, which iBOT has not.
    monkeypatch.setattr('conftest.PlanRecorder.before_train', lambda *args: None)

    def run(*hooks, epochs=3, **changes):
        watch = Watch()
        if not any(isinstance(hook, TeacherUpdateHook) for hook in hooks):
            hooks = [*hooks, TeacherUpdateHook()]
        runner = toy_runner('run', [*hooks, watch], toy_images(7, multi_crop()), epochs=epochs,
                            model=MODEL, **changes)
        runner.train()
        return watch.steps

    return run


def test_the_teacher_follows_after_each_step(distil):
    steps = distil(TeacherUpdateHook(.9))
    assert len(steps) == 9
    for index, step in enumerate(steps):
        share = 1 - (1 - .9) * (math.cos(math.pi * index / 9) + 1) / 2
        moved = 0
        for name, old in step['before'].items():
            if name.startswith('teacher.'):
                student = step['after'][name.removeprefix('teacher.')]
                assert torch.allclose(step['after'][name], share * old + (1 - share) * student,
                                      atol=1e-6)
                moved += not torch.equal(step['after'][name], old)
        assert moved > 10


def test_the_teacher_is_not_updated_while_gradients_are_accumulated(distil):
    steps = distil(TeacherUpdateHook(.5), epochs=2, optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2), accumulative_counts=2))
    name = 'teacher.backbone.layers.0.attn.qkv.weight'
    moved = [not torch.equal(step['before'][name], step['after'][name]) for step in steps]
    assert moved == [False, True, False, True, False, True]


def test_a_teacher_that_nothing_updates_is_refused(toy_runner, toy_images):
    runner = toy_runner('run', [], toy_images(7, multi_crop()), epochs=1, model=MODEL)
    with pytest.raises(InputError, match='no hook updates the teacher of IBOT'):
        runner.train()


@pytest.mark.parametrize('epochs', [1, 2, 3])
def test_the_temperature_rises_by_numpys_linspace(distil, epochs):
    steps = distil(TeacherTemperatureHook(.04, .07, epochs))
    wanted = np.concatenate([np.linspace(.04, .07, epochs) if epochs > 1 else [.07],
                             np.full(3, .07)])
    for step in steps:
        assert step['temperature'] == pytest.approx(wanted[step['epoch']])


def test_the_last_layer_is_frozen_for_an_epoch(distil):
    steps = distil(FrozenLastLayerHook(1), epochs=2)
    for step in steps:
        for name, old in step['before'].items():
            moved = not torch.equal(old, step['after'][name])
            if name.startswith('head.last_layer'):
                assert moved == (step['epoch'] >= 1)
            elif name == 'head.mlp.0.weight':
                assert moved


def test_each_gradient_is_clipped_separately():
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(4)),
                  torch.nn.Parameter(torch.zeros(1))]
    gradients = [torch.full((3, 2), 5.0), torch.full((4,), .1), None]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    clip_each(torch.optim.SGD(parameters, lr=1), 3.0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            assert parameter.grad is None
            continue
        other = torch.nn.Parameter(torch.zeros_like(gradient))
        other.grad = gradient
        torch.nn.utils.clip_grad_norm_([other], 3.0)
        assert torch.allclose(parameter.grad, other.grad)


@pytest.mark.parametrize('infinite', [None, 2])
def test_under_fp16_a_fused_optimiser_clips_the_same(infinite):
    """Its gradients carry the loss scale until its kernel; a step that overflows is left out."""
    ends = []
    for fused in (False, True):
        chance = torch.Generator().manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(shape, generator=chance))
                   for shape in ((5, 3), (7,), ())]
        optimizer = torch.optim.AdamW(weights, lr=.1, fused=fused)
        scaler = torch.amp.GradScaler('cpu', init_scale=1024., growth_interval=1)
        ClipEachHook(.5).before_train(SimpleNamespace(
            optim_wrapper=SimpleNamespace(optimizer=optimizer)))
        for step in range(4):
            # Some longer than the bound, some shorter: Adam would hide one common factor.
            factor = (.01, 3., float('inf') if step == infinite else .3, 1.)[step]
            scaler.scale(factor * sum((weight * torch.randn(weight.shape, generator=chance)).sum()
                                      for weight in weights)).backward()
            before = weights[0].detach().clone()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            assert torch.equal(before, weights[0]) == (step == infinite)
        ends.append([weight.detach() for weight in weights])
    for plain, fused in zip(*ends, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_clipping_happens_before_the_step(distil):
    sgd = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))
    for step in distil(ClipEachHook(1e-3), epochs=1, optim_wrapper=sgd):
        for name, old in step['before'].items():
            assert (step['after'][name] - old).norm() < 1.1e-3


def test_weight_decay_rises_along_a_cosine_where_there_is_any(distil):
    steps = distil(
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.04),
            paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.)),
        param_scheduler=[dict(
            type='CosineAnnealingParamScheduler', param_name='weight_decay', eta_min_ratio=10,
            T_max=3, begin=0, end=3, convert_to_iter_based=True)])
    for index, step in enumerate(steps):
        wanted = .4 + (.04 - .4) * (1 + math.cos(math.pi * index / 9)) / 2
        assert step['decay'] == pytest.approx([0, wanted], abs=1e-6)


@pytest.mark.parametrize('hook', [TeacherUpdateHook(), FrozenLastLayerHook()])
def test_a_model_of_another_kind_is_refused(toy_runner, hook):
    with pytest.raises(InputError, match='amt_mm.'):
        toy_runner('run', [hook], epochs=1).train()


@pytest.mark.parametrize('hook', [FrozenLastLayerHook(), TeacherTemperatureHook()])
def test_a_loop_without_epochs_is_refused(distil, hook):
    with pytest.raises(InputError, match='needs an epoch-based training loop'):
        distil(hook, train_cfg=dict(type='IterBasedTrainLoop', max_iters=2))


@pytest.mark.parametrize('wrong', [lambda: TeacherUpdateHook(1.5), lambda: ClipEachHook(0),
                                   lambda: TeacherTemperatureHook(0),
                                   lambda: TeacherTemperatureHook(epochs=0)])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_its_model_is_built_from_a_config():
    assert MODELS.build(MODEL).teacher.head.last_layer.out_features == 19
