"""What refreshes cost of a run: by hand, as torch counts, and as the design says."""

import mmpretrain.registry
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from amt_mm import shipped
from amt_mm.apis import comparison
from amt_mm.errors import InputError
from amt_mm.guidance import MapHook, SaliencyUpdateHook
from amt_mm.guidance.refresh import Refresh
from amt_mm.registry import HOOKS
from lab.cost.cost import CostUnknown, cost
from lab.cost.refresh_cost import (
    counted_refresh,
    crops_an_epoch,
    refresh_hook,
    run_cost,
    training_cost,
)

AMT = 'mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'


def config(name=AMT, **options):
    return comparison.resolved(str(shipped.configs_folder() / name), options)


@pytest.fixture(scope='module')
def steps():
    """Forward passes of a crop before and in the guided phase, as test_cost.py has them."""
    guided = cost(config()).counted
    # AM's phase of 75/0 is that of the warm-up.
    return cost(config(AMT.replace('amt_vit', 'am_vit'))).counted, guided


def by_hand(patches, width=768, layers=12, patch_values=768):
    tokens = patches + 1
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    # Of the last block: the query of [CLS], all keys, their products.
    return (patches * patch_values * width + (layers - 1) * block
            + width**2 + tokens * width**2 + tokens * width)


@pytest.mark.slow
@pytest.mark.parametrize(('image_size', 'patches'), [(None, 196), (160, 100), ((128, 224), 112)])
def test_one_whole_image_costs_its_multiply_adds(image_size, patches, steps):
    found = run_cost(config(), image_size=image_size)
    assert found.refresh == by_hand(patches)
    assert (found.warm_up, found.guided) == steps
    assert (found.warm_up_crops, found.guided_crops, found.refreshes) == (40, 360, 9)


def test_the_count_on_the_meta_device_is_that_of_a_real_pass(toy_mae):
    model = toy_mae()
    # The counter knows the fused attention of CPUs as nothing, its products as products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        Refresh(image_size=(24, 40)).of_batch(
            model, dict(inputs=torch.zeros(1, 3, 24, 40, dtype=torch.uint8)))
    found = counted_refresh(model.to('meta').backbone, (3, 5))
    assert found == counter.get_total_flops() // 2
    # Toy: MLP of width 48 on 24, so a block is 8 n d^2 + 2 n^2 d.
    assert found == 15 * 192 * 24 + (8 * 16 * 24**2 + 2 * 16**2 * 24) + 17 * 24**2 + 16 * 24


@pytest.mark.slow
@pytest.mark.parametrize(('changes', 'passes', 'forward'), [
    (dict(), 9, by_hand(196)), (dict(image_size=160), 9, by_hand(100)),
    (dict(parts=4), 1 + 8 / 4, by_hand(196)), (dict(begin=20, interval=100), 4, by_hand(196)),
    (dict(end=200), 4, by_hand(196))])
def test_the_share_counts_steps_three_times_and_refreshes_once(changes, passes, forward, steps):
    found = run_cost(config(), **changes)
    begin = changes.get('begin', 40)
    training = 3 * (begin * steps[0] + (400 - begin) * steps[1])
    assert found.refreshes == passes
    assert found.share == pytest.approx(passes * forward / (passes * forward + training))


@pytest.mark.slow
def test_nine_full_refreshes_are_two_per_cent():
    share = run_cost(config()).share
    assert share == pytest.approx(.019, abs=1e-3)
    assert run_cost(config(), parts=3).share < .01 < run_cost(config(), parts=2).share
    assert run_cost(config(), image_size=160).share < .01


@pytest.mark.slow
def test_the_configs_own_options_count():
    options = {'overlay.hooks.saliency.interval': 120, 'overlay.hooks.saliency.parts': 2}
    assert run_cost(config(**options)).refreshes == 1 + 2 / 2


@pytest.mark.parametrize(('dataset', 'crops'), [
    (dict(type='X', pipeline=[dict(type='Load')]), 1),
    (dict(type='RepeatDataset', times=3, dataset=dict(type='X', pipeline=[
        dict(type='amt_mm.RepeatedCrops', repeats=4, transforms=[])])), 12),
    (dict(type='Y', datasets=[dict(type='X', pipeline=[dict(type='amt_mm.RepeatedCrops')])] * 2),
     2)])
def test_crops_an_epoch(dataset, crops):
    assert crops_an_epoch(dataset) == crops


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(InputError, match='no SaliencyUpdateHook'):
        run_cost(config('mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'))
    with pytest.raises(InputError, match='by epochs'):
        run_cost(config(), by_epoch=False)
    with pytest.raises(InputError, match='different number'):
        crops_an_epoch(dict(datasets=[dict(type='X'), dict(dataset=dict(type='X'), times=2)]))


def test_the_hook_of_a_config_with_another_scope_is_found():
    assert refresh_hook(config()).interval == 40
    assert refresh_hook(config('mae/mae-loss-guided_vit-base-p16_8xb512-amp-coslr-200e_in1k.py')
                        ) is None


class OwnRefresh(SaliencyUpdateHook):
    """What a user derives: its options are passed on."""

    def __init__(self, mine=1, **kwargs):
        super().__init__(**kwargs)


class OwnMaps(MapHook):
    def __init__(self, begin=30):
        super().__init__(begin)


@pytest.mark.parametrize(('hook', 'guided', 'refreshes'), [
    (dict(type='amt_mm.MapsFromFileHook', path='maps.npz', begin=100), 300, 0),
    (dict(type='amt_mm.MapsFromFileHook', path='maps.npz'), 400, 0),
    (dict(type='amt_mm.TokenLossHook', begin=10), 390, 0),
    (dict(type=OwnRefresh, mine=2, interval=60), 360, 6), (dict(type=OwnMaps), 370, 0),
    (dict(type='OwnMaps', begin=7), 393, 0), (dict(type='amt_mm.OwnMaps', begin=7), 393, 0)])
def test_a_run_is_guided_by_whatever_makes_its_maps(hook, guided, refreshes, steps, monkeypatch):
    for registry in (HOOKS, mmpretrain.registry.HOOKS):
        monkeypatch.setitem(registry.module_dict, 'OwnMaps', OwnMaps)
    cfg = config()
    cfg.custom_hooks = [dict(type='EMAHook'), hook]
    found = training_cost(cfg)
    assert (found.warm_up, found.guided) == steps
    assert (found.warm_up_crops, found.guided_crops, found.refreshes) == (400 - guided, guided,
                                                                          refreshes)
    assert found.step == 3 * steps[1]


def test_guided_masks_without_a_known_maker_have_no_known_cost():
    cfg = config()
    cfg.custom_hooks = []
    with pytest.raises(CostUnknown, match='AMTMaskGenerator needs maps.*MapHook'):
        training_cost(cfg)
    assert training_cost(config(AMT.replace('amt_vit', 'random_vit'))).guided_crops == 0
