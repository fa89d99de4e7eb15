"""refresh_options: which options are measured, on which maps, and what the numbers say."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from amt_mm.guidance.refresh import Refresh
from lab.cost import refresh_options as measure


def test_options_are_the_full_refresh_and_each_alone():
    found = measure.options((224, 224), 16, None, [2, 4])
    assert [each.name for each in found] == [
        'full', 'bf16', '160x160 pixels', '128x128 pixels', '160x160 pixels, bf16',
        '128x128 pixels, bf16', 'parts=2', 'parts=4']
    assert found[0].settings == found[-1].settings == Refresh(precision='fp32')
    assert found[5].settings == Refresh(image_size=(128, 128), precision='bf16')
    assert [each.parts for each in found[-2:]] == [2, 4]


def test_smaller_sizes_keep_proportion_and_whole_patches():
    sizes = [each.settings.size for each in measure.options((40, 56), 8, [33, 24, 23, 1], [])]
    assert sizes == [None, None, (32, 48), (24, 32), (8, 8), (32, 48), (24, 32), (8, 8)]


def test_samples_are_spread_over_the_data_set():
    assert measure.evenly(range(9), 3) == [0, 4, 8]
    assert measure.evenly(range(2), 9) == [0, 1]


@pytest.mark.parametrize('size', [None, (24, 40)])
def test_maps_are_those_that_a_refresh_writes(toy_mae, toy_images, size):
    """In batches whose last one is not full, of samples out of order."""
    model, dataset = toy_mae(), toy_images(5)
    settings = Refresh(image_size=size)
    found = measure.maps_of(model, dataset, [4, 0, 3], settings, 2)
    view = settings.view(dataset)
    alone = torch.cat([settings.of_batch(model, dict(inputs=view[i]['inputs'][None]))
                       for i in (4, 0, 3)])
    assert found.shape == (3, *settings.grid(model.backbone))
    torch.testing.assert_close(found.flatten(1), alone, rtol=0, atol=1e-5)


def test_a_rotation_holds_maps_of_each_age():
    """By simulation: 3 parts, renewed in turn; after enough refreshes, what is in hand."""
    samples, parts = range(8), 3
    in_hand = dict.fromkeys(samples)
    for refresh in range(10):
        for sample in range(refresh % parts, 8, parts) if refresh else samples:
            in_hand[sample] = refresh
    # The tool lets part 0 be the one that was renewed last; the ninth refresh renewed it.
    maps = [torch.full((8, 1, 1), float(age)) for age in range(3)]
    found = measure.of_different_age(maps, list(samples), parts).flatten().tolist()
    assert found == [9 - in_hand[sample] for sample in samples]
    assert measure.of_different_age(maps[:2], list(samples), parts) is None


def test_agreement_is_spearmans_and_leaves_flat_maps_out():
    maps, full = torch.rand(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    maps[2] = 0
    wanted = [spearmanr(maps[i].flatten(), full[i].flatten()).statistic for i in (0, 1, 3)]
    np.testing.assert_allclose(measure.agreement(maps, full), wanted)


def test_agreement_of_a_coarser_map_is_taken_on_the_full_grid():
    slope = torch.linspace(0, 1, 7).expand(2, 5, 7)
    coarse = torch.linspace(0, 1, 4).expand(2, 3, 4)
    # Up to the cells beyond the outer centres of the coarse map, which are alike.
    assert measure.agreement(coarse, slope).tolist() == pytest.approx([1, 1], abs=.01)
    assert measure.agreement(coarse.flip(2), slope).tolist() == pytest.approx([-1, -1], abs=.01)


def test_the_most_that_a_grid_can_keep():
    """A full map that is as coarse already loses nothing; one of single cells loses much."""
    noise = torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0))
    same = measure.agreement(measure.on_grid(noise, (4, 6)), noise)
    assert same.tolist() == pytest.approx([1] * 9)
    assert measure.agreement(measure.on_grid(noise, (2, 3)), noise).mean() < .7
    slope = torch.linspace(0, 1, 6).expand(1, 4, 6)
    torch.testing.assert_close(measure.on_grid(slope, (1, 1)), torch.full((1, 1, 1), .5))


def test_a_guided_step_needs_no_hook_that_tells_the_progress(toy_mae):
    generator = dict(type='amt_mm.AnnealedMaskGenerator')
    model = toy_mae(data_preprocessor=dict(mask_generator=generator))
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    measure.training_step(model, images, guided=True, bf16=False)
    assert model.data_preprocessor.mask_generator.progress == 1


@pytest.mark.parametrize(('guided', 'visible'), [(True, 6), (False, 9)])
def test_a_training_step_is_of_its_phase_and_leaves_no_gradient(toy_mae, guided, visible):
    model, tokens = toy_mae(), []
    model.backbone.layers[0].register_forward_pre_hook(
        lambda module, args: tokens.append((args[0].shape[1], torch.is_grad_enabled())))
    reached = []
    model.backbone.cls_token.register_hook(lambda grad: reached.append(grad))
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    measure.training_step(model, images, guided, bf16=False)
    assert tokens == [(1 + visible, True)]
    assert len(reached) == 1 and reached[0].abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_tasks_take_turns_and_the_warm_up_is_left_out(monkeypatch):
    calls, clock = [], [0.]

    def task(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds
        return run

    monkeypatch.setattr(measure.time, 'process_time', lambda: clock[0])
    times = measure.take_turns({'a': task('a', 1), 'b': task('b', 3)}, 2, torch.device('cpu'))
    assert calls == ['a', 'b'] * 3
    assert {name: each.tolist() for name, each in times.items()} == {'a': [1, 1], 'b': [3, 3]}
