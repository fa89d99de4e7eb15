"""Contestant: steps as MMEngine takes them, each phase in its column, the guided phase."""

import time

import cv2
import numpy as np
import pytest
import torch

from amt_mm import shipped
from amt_mm.errors import InputError
from lab.benchmark.batches import make_images
from lab.benchmark.clock import PHASES, CPUClock
from lab.benchmark.contestant import Contestant
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import race

GUIDED = 'quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'
OWN = 'quickstart/mae_vit-mini-p8_1xb128-coslr-24e_scenes.py'
# mmpretrain's model; the pipeline reads files; another grid of maps than the overlay's default.
STOCK = '''
_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'
model = dict(
    backbone=dict(img_size=32, patch_size=8, arch=dict(
        _delete_=True, embed_dims=24, num_layers=2, num_heads=3,
        feedforward_channels=48)),
    neck=dict(num_patches=16, patch_size=8, embed_dim=24, decoder_embed_dim=16, decoder_depth=1,
              decoder_num_heads=2),
    head=dict(patch_size=8))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=32),
    dict(type='PackInputs')]))
'''
OVERLAY = STOCK.replace("_base_ = '", "_base_ = ['").replace(
    ".py'", f".py', '{shipped.configs_folder()}/_base_/amt/mae-amt.py']", 1)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('photos') / 'noise', 5)


@pytest.fixture
def contestant(tmp_path, images):
    """The factory of contestants by the text of a config or by its name among ours."""
    def make(config=OVERLAY, batch_size=3, folder=None, **options):
        if config.endswith('.py'):
            path = shipped.configs_folder() / config
        else:
            path = tmp_path / 'toy.py'
            path.write_text(config)
        return Contestant(str(path), batch_size, folder or images, tmp_path, **options)
    return make


def plans_of(contestant):
    plans = []
    contestant.model.register_forward_pre_hook(
        lambda _, args, kwargs: plans.append(kwargs.get('plan')), with_kwargs=True)
    return plans


SLEEP = .4


def slow_down(monkeypatch, racer, phase):
    """Put a sleep into one phase, by a way that the benchmark does not know."""
    def slowly(function):
        return lambda *args, **kwargs: (time.sleep(SLEEP), function(*args, **kwargs))[1]

    if phase == 'data':
        monkeypatch.setattr(cv2, 'imdecode', slowly(cv2.imdecode))
    elif phase == 'prepare':
        store = racer.model.data_preprocessor.store
        monkeypatch.setattr(store, 'lookup', slowly(store.lookup))
    elif phase == 'forward':
        racer.model.head.register_forward_pre_hook(lambda *_: time.sleep(SLEEP))
        monkeypatch.setattr(racer.model.head, 'loss', slowly(racer.model.head.loss))
    elif phase == 'backward':
        racer.model.neck.decoder_pred.weight.register_hook(lambda _: time.sleep(SLEEP))
    else:
        racer.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: time.sleep(SLEEP))


@pytest.mark.slow
@pytest.mark.parametrize('phase', PHASES)
def test_a_slow_phase_lands_in_its_column(contestant, monkeypatch, phase):
    racer = contestant(batch_size=1, read=True)
    racer.step(CPUClock())
    slow_down(monkeypatch, racer, phase)
    seconds = dict(zip(PHASES, racer.step(CPUClock()), strict=True))
    assert seconds.pop(phase) >= SLEEP
    assert max(seconds.values()) < SLEEP


@pytest.mark.slow
def test_phases_sum_to_the_step_and_reading_is_timed_on_request(contestant):
    for read in (False, True):
        racer = contestant(read=read)
        racer.step(CPUClock())
        start = time.perf_counter()
        seconds = np.array(racer.step(CPUClock()))
        whole = time.perf_counter() - start
        assert np.isnan(seconds[0]) == (not read)
        assert .5 * whole < np.nansum(seconds) <= whole


@pytest.mark.slow
@pytest.mark.parametrize(('config', 'thrown'), [
    (OVERLAY, 6), (GUIDED, 26),
    (OVERLAY + "data_preprocessor = dict(mask_generator=dict(type='amt_mm.AnnealedMaskGenerator'))",
     6)])
def test_guided_configs_are_in_their_guided_phase(contestant, config, thrown):
    racer = contestant(config)
    plans = plans_of(racer)
    racer.step(CPUClock())
    plan, = plans
    assert plan.thrown.shape == (3, thrown)
    assert racer.multiply_adds > 0
    assert racer.model.data_preprocessor.fallbacks == 0  # the maps could guide


@pytest.mark.slow
def test_mmpretrains_own_model_masks_by_itself(contestant):
    racer = contestant(STOCK)
    plans = plans_of(racer)
    assert all(np.array(racer.step(CPUClock()))[1:] > 0)
    assert plans == [None]
    assert type(racer.model).__module__.startswith('mmpretrain')


def test_maps_of_other_samples_each_step_when_one_batch_serves_all(contestant):
    racer = contestant()
    seen = []
    lookup = racer.model.data_preprocessor.store.lookup
    racer.model.data_preprocessor.store.lookup = lambda ids: (seen.append(ids), lookup(ids))[1]
    racer.step(CPUClock())
    racer.step(CPUClock())
    assert not torch.equal(*seen) and max(map(max, seen)) > 5


@pytest.mark.slow
@pytest.mark.parametrize('bf16', [False, True])
def test_a_step_is_mmengines(contestant, bf16):
    racer, other = contestant(bf16=bf16), contestant(bf16=bf16)
    before = {name: value.clone() for name, value in racer.model.state_dict().items()}
    racer._scatter = other._scatter = lambda: None
    torch.manual_seed(3)
    racer.step(CPUClock())
    torch.manual_seed(3)
    other.model.train_step(other._batch, other.optim_wrapper)
    moments = [{name: each.optim_wrapper.optimizer.state[parameter]['exp_avg']
                for name, parameter in each.model.named_parameters() if parameter.requires_grad}
               for each in (racer, other)]
    assert all(moment.abs().max() > 0 for moment in moments[0].values())
    torch.testing.assert_close(*moments, rtol=1e-5, atol=1e-8)
    # A learning rate of 0: every round has the same model.
    assert all(torch.equal(value, before[name])
               for name, value in racer.model.state_dict().items())
    assert all(parameter.grad is None for parameter in racer.model.parameters())


def test_the_optimiser_is_the_configs(contestant):
    wrapper = contestant(STOCK + '''
optim_wrapper = dict(optimizer=dict(betas=(.5, .6)), clip_grad=dict(max_norm=2.))''').optim_wrapper
    assert type(wrapper).__name__ == 'OptimWrapper'  # fp16's scaling is left out
    assert wrapper.optimizer.param_groups[0]['betas'] == (.5, .6)
    assert wrapper.clip_grad_kwargs == {'max_norm': 2.}
    assert {group['weight_decay'] for group in wrapper.optimizer.param_groups} == {0, .05}


@pytest.mark.slow
def test_a_config_beside_itself(contestant):
    pair = [contestant(batch_size=2) for _ in range(2)]
    outcome = race(pair, rounds=9, warm_up=2)
    assert .5 < np.median(outcome.step[:, 1] / outcome.step[:, 0]) < 2


@pytest.mark.slow
def test_memory_is_parameters_moments_gradients_and_what_forward_keeps(contestant):
    small, large = contestant(batch_size=1), contestant(batch_size=9)
    for racer in (small, large):
        racer.step(CPUClock())
    sizes = [4 * parameter.numel() for parameter in small.model.parameters()]
    learnt = [4 * p.numel() for p in small.model.parameters() if p.requires_grad]
    assert small.state_bytes() == pytest.approx(sum(sizes) + 2 * sum(learnt), rel=.02)
    floor = small.state_bytes() + sum(learnt)
    assert floor <= peak_memory(small) < 2 * floor
    # Of each block at least its input, twice (query, key, value) and the MLP's are kept.
    kept = 8 * 4 * 2 * 24 * (1 + 3)  # 8 more images, 4 tokens, 2 blocks
    assert peak_memory(large) > peak_memory(small) + 4 * kept


def test_crops_are_counted_not_images(contestant):
    racer = contestant(STOCK.replace('''dict(type='RandomResizedCrop', scale=32),
    dict(type='PackInputs')''', '''dict(type='amt_mm.RepeatedCrops', repeats=2, transforms=[
        dict(type='RandomResizedCrop', scale=32), dict(type='PackInputs')])''') + '''
train_dataloader = dict(_delete_=True, dataset=dict(type='amt_mm.StagedDataset', dataset=dict(
    type='ImageNet', pipeline=train_dataloader['dataset']['pipeline'])),
    collate_fn=dict(type='amt_mm.collate_repeats'))
''')
    racer.step(CPUClock())
    assert racer.batch_size == 6


def test_views_of_an_image_are_one_sample(contestant):
    """iBOT's inputs are a list of views: 12 of them, of 2 images."""
    racer = contestant('clothing/ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py', batch_size=2)
    racer.step(CPUClock())
    assert racer.batch_size == 2 and racer.multiply_adds is None


@pytest.mark.parametrize(('config', 'text'), [
    ('benchmarks/knn/vit-base-p16_knn_cifar10.py', 'give configs of pre-training'),
    ('benchmarks/finetune/vit-mini-p8_1xb128-coslr-10e_clothing.py', 'not a method of self-superv'),
    ('mae/none.py', 'there is no such file')])
def test_other_configs_are_refused_in_one_line(contestant, config, text):
    with pytest.raises(InputError, match=text) as error:
        contestant(config)
    assert '\n' not in str(error.value)
