"""PretrainedBackboneHook: the encoder is loaded once, and never left random by mistake."""

import logging

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import nn

from amt_mm.checkpoints import convert
from amt_mm.errors import InputError


@pytest.fixture
def pretrained(toy_mae, tmp_path):
    """A checkpoint with MAE's names, and the encoder in it under ours."""
    state = toy_mae(seed=9).state_dict()
    torch.save({'model': convert(state, 'mae').state}, tmp_path / 'mae.pth')
    return str(tmp_path / 'mae.pth'), {k: v for k, v in state.items() if k.startswith('backbone.')}


class Snapshot(Hook):
    """The weights before the first step."""

    priority = 'VERY_LOW'

    def before_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        self.state = {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def start(toy_runner):
    """Train, and return the weights before the first step and what was logged."""

    def run(checkpoint, wrap=None, **settings):
        snapshot = Snapshot()
        runner = toy_runner(
            hooks=[snapshot, dict(type='amt_mm.PretrainedBackboneHook', checkpoint=checkpoint)],
            **{'epochs': 1, **(dict(kind=Runner) if wrap else {}), **settings})
        if wrap is not None:
            runner.model = wrap(runner.model)
        logger, logged = MMLogger.get_current_instance(), []
        logger.setLevel('INFO')
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())
        logger.addHandler(handler)
        try:
            runner.call_hook('before_train') if wrap else runner.train()
        finally:
            logger.removeHandler(handler)
        return snapshot.state, logged

    return run


def same_encoder(state, encoder):
    return all(torch.equal(state[name], value) for name, value in encoder.items())


def test_the_encoder_is_loaded_after_the_start_was_drawn(start, pretrained):
    path, encoder = pretrained
    state, logged = start(path)
    assert same_encoder(state, encoder)
    # Not the decoder: that is for load_from.
    assert not torch.equal(state['neck.decoder_embed.weight'],
                           torch.load(path)['model']['decoder_embed.weight'])
    assert sum('30 of 30 entries of the backbone loaded' in line for line in logged) == 1


@pytest.mark.parametrize('wrap', [nn.DataParallel])
def test_a_wrapped_model(start, pretrained, wrap):
    path, encoder = pretrained
    assert same_encoder(start(path, wrap)[0], encoder)


def test_a_teacher_starts_from_the_same_encoder(start, pretrained):
    path, _ = pretrained

    def ibot(mae):
        size = {key: getattr(mae.backbone, key) for key in ('img_size', 'arch_settings')}
        return MODELS.build(dict(
            type='amt_mm.IBOT', data_preprocessor=dict(type='SelfSupDataPreprocessor'),
            backbone=dict(type='amt_mm.IBOTViT', img_size=size['img_size'], patch_size=8,
                          arch=size['arch_settings']),
            masking=dict(type='amt_mm.CropMasking', strategy='high'),
            head=dict(type='amt_mm.DistillationHead', out_channels=5, hidden_channels=8,
                      bottleneck_channels=4)))

    state, _ = start(path, ibot)
    loaded = torch.load(path)['model']
    for of in ('', 'teacher.'):
        assert torch.equal(state[f'{of}backbone.layers.1.attn.qkv.weight'],
                           loaded['blocks.1.attn.qkv.weight'])
        assert torch.equal(state[f'{of}backbone.cls_token'], loaded['cls_token'])
    last = 'head.last_layer.parametrizations.weight.original1'
    assert torch.equal(state[f'teacher.{last}'], state[last])


def test_a_resumed_run_keeps_its_encoder(start, pretrained):
    path, encoder = pretrained
    start(path)
    # The file may be gone by then.
    state, logged = start('gone.pth', epochs=2, resume=True)
    assert not same_encoder(state, encoder)
    assert any('Resumed at iteration 3: the encoder is that of the run' in x for x in logged)


def test_resuming_with_nothing_to_resume_starts_pretrained(start, pretrained):
    path, encoder = pretrained
    assert same_encoder(start(path, resume=True)[0], encoder)


def test_an_empty_checkpoint_is_refused(start):
    with pytest.raises(InputError, match='--pretrained FILE, or --pretrained none'):
        start('')


def test_random_weights_are_logged(start):
    _, logged = start('none')
    assert any('its weights are random' in line for line in logged)


def test_load_from_is_enough(start, toy_mae, tmp_path):
    whole = toy_mae(seed=4).state_dict()
    torch.save({'state_dict': whole}, tmp_path / 'whole.pth')
    state, logged = start('', load_from=str(tmp_path / 'whole.pth'))
    assert same_encoder(state, whole)
    assert any('whole.pth' in line and 'whole model' in line for line in logged)
    with pytest.raises(InputError, match='both name weights'):
        start('none', load_from=str(tmp_path / 'whole.pth'))


def test_a_file_that_does_not_fit_stops_the_run(start, toy_mae, tmp_path):
    torch.save(toy_mae(backbone=dict(patch_size=4)).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='patches of 4 px, the model .* patches of 8 px'):
        start(str(tmp_path / 'a.pth'))


def test_a_model_without_a_backbone(start):
    class Plain(nn.Module):
        """Nothing to load."""

    with pytest.raises(InputError, match='Plain has no `backbone`'):
        start('none', lambda model: Plain())
