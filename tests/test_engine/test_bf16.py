"""BF16OptimWrapper: what runs in bfloat16, and what stays in fp32."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from amt_mm.engine import BF16OptimWrapper, bf16
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.models.recompute import enable_recompute
from amt_mm.registry import OPTIM_WRAPPERS

ADAMW = dict(type='AdamW', lr=1e-3)


class Watch(Hook):
    """Types of the activations and gradients, and the losses."""

    def __init__(self):
        self.activations, self.gradients, self.losses = set(), set(), []

    def before_train(self, runner):
        layer = runner.model.backbone.layers[0].ffn.layers[0][0]
        layer.register_forward_hook(lambda *a: self.activations.add(a[2].dtype))
        for parameter in runner.model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(
                    lambda p: self.gradients.add(p.grad.dtype))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))


def watched(toy_runner, kind, epochs=2, **changes):
    watch = Watch()
    runner = toy_runner(hooks=[SaliencyUpdateHook(1), watch], epochs=epochs,
                        optim_wrapper=dict(type=kind, optimizer=dict(ADAMW)), **changes)
    runner.train()
    return runner, watch


def test_activations_in_bf16_weights_and_gradients_in_fp32(toy_runner):
    _, full = watched(toy_runner, 'OptimWrapper')
    runner, half = watched(toy_runner, 'amt_mm.BF16OptimWrapper')
    assert (full.activations, half.activations) == ({torch.float32}, {torch.bfloat16})
    assert half.gradients == {torch.float32}
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    # Eight bits of mantissa, and the same draws.
    assert half.losses != full.losses
    assert half.losses == pytest.approx(full.losses, rel=.02)


@pytest.mark.parametrize(('kind', 'fused'), [
    ('OptimWrapper', True), ('amt_mm.BF16OptimWrapper', False)])
def test_no_fused_attention_in_bf16_on_cpus(kind, fused):
    """Its backward pass is slower there than everything else together."""
    wrapper = OPTIM_WRAPPERS.build(dict(
        type=kind, optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)))
    query, key, value = torch.randn(3, 2, 3, 17, 64, requires_grad=True).unbind()
    with torch.profiler.profile() as profile:
        with wrapper.optim_context(torch.nn.Identity()):
            attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        attended.float().sum().backward()
    calls = {event.key for event in profile.key_averages()}
    assert any('flash_attention' in call for call in calls) == fused
    logits = (query @ key.transpose(-2, -1) / 64**.5).softmax(-1)
    torch.testing.assert_close(attended.float(), logits @ value, rtol=.05, atol=.05)


@pytest.mark.slow
def test_recomputed_attention_is_that_of_the_forward_pass(toy_runner):
    """With another kernel in the backward pass, torch refuses the tensors that it finds."""
    runner = toy_runner(optim_wrapper=dict(type='amt_mm.BF16OptimWrapper',
                                           optimizer=dict(ADAMW)), epochs=1)
    enable_recompute(runner.model.backbone.layers)
    with torch.profiler.profile() as profile:
        runner.train()
    assert not any('flash_attention' in event.key for event in profile.key_averages())


def test_steps_are_accumulated(toy_runner):
    """Two batches a step: the weights change after every other one."""
    seen = []

    class Note(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen.append(runner.model.backbone.cls_token.detach().clone())

    toy_runner(hooks=[Note()], epochs=2, optim_wrapper=dict(
        type='amt_mm.BF16OptimWrapper', accumulative_counts=2, optimizer=dict(ADAMW))).train()
    changed = [not torch.equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert changed == [True, False, True, False, True]


def test_a_run_in_fp16_goes_on_in_bf16(toy_runner):
    """Its checkpoint holds a scaler, which bf16 has no use for."""
    first, _ = watched(toy_runner, 'OptimWrapper', epochs=1, work_dir='first')
    path = f'{first.work_dir}/epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['optimizer']['loss_scaler'] = torch.amp.GradScaler(device='cpu').state_dict()
    torch.save(checkpoint, path)
    runner, watch = watched(toy_runner, 'amt_mm.BF16OptimWrapper', work_dir='second',
                            load_from=path, resume=True)
    assert len(watch.losses) == 3 and runner.iter == 6
    assert 'loss_scaler' not in runner.optim_wrapper.state_dict()


def test_a_fixed_scale_is_refused(toy_mae):
    optimizer = torch.optim.AdamW(toy_mae().parameters())
    BF16OptimWrapper(optimizer=optimizer, loss_scale='dynamic')
    with pytest.raises(InputError, match='loss_scale=512.0 has no effect'):
        BF16OptimWrapper(optimizer=optimizer, loss_scale=512.)


def test_a_gpu_without_bf16_is_refused(toy_mae, monkeypatch):
    monkeypatch.setattr(bf16, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Old One')
    with pytest.raises(InputError, match='Old One has no bfloat16'):
        BF16OptimWrapper(optimizer=torch.optim.AdamW(toy_mae().parameters()))


@pytest.mark.parametrize(('name', 'there', 'warned'), [
    ('avx512_bf16', True, False), ('amx_bf16', True, False), ('bf16', True, False),
    ('avx512_bf16', False, True), ('avx2', True, True)])
def test_a_cpu_that_emulates_bf16_is_named(toy_mae, monkeypatch, capsys, name, there, warned):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {name: there})
    BF16OptimWrapper(optimizer=torch.optim.AdamW(toy_mae().parameters()))
    assert ('no instructions for bfloat16' in capsys.readouterr().err) == warned


def test_the_cpu_here_has_bf16_if_the_kernel_says_so():
    flags = Path('/proc/cpuinfo').read_text().split()
    assert bf16.cpu_has_bf16() == bool({'avx512_bf16', 'amx_bf16', 'bf16'} & set(flags))
