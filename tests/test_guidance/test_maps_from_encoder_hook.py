"""MapsFromEncoderHook: masks follow the attention of a given encoder, which stays as it is."""

import numpy as np
import pytest
import torch
from conftest import save_checkpoint
from guided_runs import GUIDED, WARMUP, counts, maps_of, states
from torch import nn

from amt_mm.datasets import whole_image_view
from amt_mm.errors import InputError
from amt_mm.guidance import MapsFromEncoderHook, SaliencyUpdateHook, maps_from_encoder_hook
from amt_mm.models import RegisterViT

# Another network than the toy one: two registers, LayerScale, patches of 7 on images of 28 x 21.
ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=24)
SIZE, PATCH, TOKENS = (28, 21), 7, 12


@pytest.fixture
def vit():
    torch.manual_seed(5)
    vit = RegisterViT(ARCH, SIZE, PATCH, out_type='raw', num_registers=2, layer_scale_init_value=.5)
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=.4)
    vit.eval()
    return vit


@pytest.fixture
def checkpoint(vit, tmp_path):
    return saved(vit, tmp_path / 'guide.pth')


def saved(vit, path):
    return save_checkpoint(
        path, nn.ModuleDict(dict(backbone=vit)).state_dict(), model=dict(
            type='amt_mm.AMTMAE', backbone=dict(type='amt_mm.AMTMAEViT', arch=ARCH,
                                                patch_size=PATCH, img_size=SIZE)))


def slow_maps(vit, runner):
    """Mean over heads of the last [CLS] row to the patches, image by image, scaled to [0, 1]."""
    view, maps, seen = whole_image_view(runner.train_dataloader.dataset, SIZE), [], []
    handle = vit.layers[-1].attn.qkv.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.no_grad():
        for index in range(len(view)):
            batch = dict(inputs=view[index]['inputs'][None])
            vit(runner.model.data_preprocessor(batch)['inputs'])
            q, k, _ = seen.pop()[0].double().unflatten(-1, (3, 2, 8)).permute(1, 2, 0, 3).numpy()
            assert k.shape[1] == 3 + TOKENS
            row = np.exp(np.einsum('hd,hkd->hk', q[:, 0], k) / 8**.5)
            row = (row / row.sum(axis=1, keepdims=True)).mean(axis=0)[3:]
            maps.append((row - row.min()) / (row.max() - row.min()))
    handle.remove()
    return np.stack(maps)


def test_maps_are_those_of_the_given_encoder(toy_runner, vit, checkpoint, tmp_path):
    before = states(vit)
    runner = toy_runner(hooks=[MapsFromEncoderHook(str(checkpoint), image_size=SIZE)])
    runner.train()
    # One refresh, before the first epoch; the encoder being trained changes in the others.
    path, = (tmp_path / 'run/saliency').glob('*.amtmap')
    found = maps_of(path)
    assert found.shape[1:] == (4, 3)
    np.testing.assert_allclose(found.flatten(1).numpy(), slow_maps(vit, runner), atol=1e-3)
    assert all(counts(step) == GUIDED for step in runner.recorder.steps)
    assert all(torch.equal(value, before[name]) for name, value in states(vit).items())


def test_rotary_positions_take_part(toy_runner, tmp_path):
    # The encoder sees another grid than its own file tells; nothing of it is resized.
    torch.manual_seed(5)
    vit = RegisterViT(ARCH, (14, 14), PATCH, out_type='raw', num_registers=2, rotary=True,
                      norm_cfg=dict(type='LN', eps=1e-5))
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=.4)
    vit.eval()
    path = saved(vit, tmp_path / 'rotary.pth')
    runner = toy_runner(hooks=[MapsFromEncoderHook(str(path), image_size=SIZE)], epochs=1)
    runner.train()
    found = maps_of(tmp_path / 'run/saliency/encoder_0.amtmap').flatten(1).numpy()
    # Rows of [CLS] follow from queries and keys that are turned first.
    view, inputs = whole_image_view(runner.train_dataloader.dataset, SIZE), []
    for index in range(len(view)):
        batch = dict(inputs=view[index]['inputs'][None])
        inputs.append(runner.model.data_preprocessor(batch)['inputs'])
    with torch.no_grad():
        seen = []
        vit.layers[-1].attn.register_forward_hook(lambda *given: seen.append(given[1]))
        vit(torch.cat(inputs))
        (tokens, rotation), = seen
        query, key, _ = vit.layers[-1].attn.split(tokens)
        query, key = (vit.layers[-1].attn.rotate(part, rotation) for part in (query, key))
        rows = (query[:, :, :1] @ key.mT / 8**.5).softmax(dim=-1)[:, :, 0, 3:].mean(dim=1)
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    np.testing.assert_allclose(found, ((rows - low) / (high - low)).numpy(), atol=1e-3)


def test_the_encoder_is_not_trained_with(toy_runner, checkpoint):
    hook = MapsFromEncoderHook(str(checkpoint), begin=2, image_size=SIZE)
    runner = toy_runner(hooks=[hook], epochs=3)
    runner.train()
    assert not any('guide' in name or 'settings' in name for name in runner.model.state_dict())
    assert hook.settings.vit is None  # its memory is free
    hook.load(runner.model)
    assert not any(parameter.requires_grad for parameter in hook.settings.vit.parameters())
    assert [counts(step) for step in runner.recorder.steps] == [WARMUP] * 6 + [GUIDED] * 3


def test_a_resumed_run_goes_on_with_its_maps(toy_runner, vit, checkpoint, tmp_path, monkeypatch):
    whole = toy_runner('whole', hooks=[MapsFromEncoderHook(str(checkpoint), image_size=SIZE)])
    whole.train()
    toy_runner('part', hooks=[MapsFromEncoderHook(str(checkpoint), image_size=SIZE)],
               epochs=2).train()

    def fail(*args):
        raise AssertionError('the encoder is loaded again')

    monkeypatch.setattr(maps_from_encoder_hook, 'pretrained_vit', fail)
    runner = toy_runner('part', hooks=[MapsFromEncoderHook(str(checkpoint), image_size=SIZE)],
                        resume=True)
    runner.train()
    path = tmp_path / 'part/saliency/encoder_0.amtmap'
    np.testing.assert_allclose(maps_of(path).flatten(1).numpy(), slow_maps(vit, runner), atol=1e-3)


def test_a_later_begin_makes_its_maps_with_the_encoder_too(toy_runner, vit, checkpoint, tmp_path):
    def run(begin, **changes):
        runner = toy_runner(hooks=[MapsFromEncoderHook(str(checkpoint), begin, image_size=SIZE)],
                            **changes)
        runner.train()
        return runner

    run(0, epochs=1)
    runner = run(2, epochs=3, resume=True)
    found = maps_of(tmp_path / 'run/saliency/encoder_2.amtmap')
    np.testing.assert_allclose(found.flatten(1).numpy(), slow_maps(vit, runner), atol=1e-3)


def test_maps_of_another_hook_are_replaced_on_resume(toy_runner, vit, checkpoint, tmp_path):
    toy_runner(hooks=[SaliencyUpdateHook(begin=0, interval=1)], epochs=2).train()
    resumed = toy_runner(hooks=[MapsFromEncoderHook(str(checkpoint), image_size=SIZE)], epochs=3,
                         resume=True)
    resumed.train()
    found = maps_of(resumed.model.data_preprocessor.store.path)
    np.testing.assert_allclose(found.flatten(1).numpy(), slow_maps(vit, resumed), atol=1e-3)


def test_iterations_count_if_the_hook_says_so(toy_runner, checkpoint):
    hook = MapsFromEncoderHook(str(checkpoint), 4, by_epoch=False, image_size=SIZE)
    runner = toy_runner(hooks=[hook], epochs=2)
    runner.train()
    assert [counts(step) for step in runner.recorder.steps] == [WARMUP] * 4 + [GUIDED] * 2


@pytest.mark.parametrize(('changes', 'said'), [
    (dict(checkpoint=None), 'has no checkpoint: set overlay.hooks.saliency.checkpoint'),
    (dict(checkpoint='none'), 'has no checkpoint'),
    (dict(checkpoint='missing.pth'), 'missing.pth'),
    (dict(encoder='both'), "MapsFromEncoderHook.encoder='both'"),
    (dict(encoder='teacher'), 'holds no teacher'),
    (dict(image_size=24), 'image_size=24x24 .* multiple of the patch of .*guide.pth, 7 pixels'),
    (dict(layers=7), 'layers=7'),
    (dict(max_flat=2), 'max_flat=2')])
def test_refusals(toy_runner, checkpoint, changes, said):
    with pytest.raises(InputError, match=said) as caught:
        toy_runner(hooks=[MapsFromEncoderHook(**{
            **dict(checkpoint=str(checkpoint), image_size=SIZE), **changes})], epochs=1).train()
    assert '\n' not in str(caught.value)


def test_other_channels_are_refused(toy_runner, tmp_path):
    torch.manual_seed(5)
    path = saved(RegisterViT(ARCH, SIZE, PATCH, in_channels=5), tmp_path / 'five.pth')
    with pytest.raises(InputError, match='five.pth: the encoder takes 5 channels, the images have'):
        toy_runner(hooks=[MapsFromEncoderHook(str(path), image_size=SIZE)], epochs=1).train()
