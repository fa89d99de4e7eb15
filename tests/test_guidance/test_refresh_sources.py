"""Refreshes from every source: maps on disk by a slow oracle, means, parts, processes, resuming."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchrun import in_two_real_processes

from amt_mm.datasets import whole_image_view
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook, refresh
from amt_mm.reliability import StepSeedHook
from amt_mm.saliency import SaliencySource, SaliencyStore
from lab.cost.refresh_cost import counted_refresh

STILL = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
FAST = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05))


def stored(folder, epoch=0):
    store = SaliencyStore(Path(folder) / 'saliency' / f'epoch_{epoch}.amtmap')
    return store.lookup(torch.arange(store.num_samples)).flatten(1).double().numpy()


def seen(runner):
    """Attention (2 blocks, 7, heads, 36, 36) and last features (7, 36, 24), image by image."""
    model = runner.model.eval()
    view = whole_image_view(runner.train_dataloader.dataset)
    qkvs, outputs = [], []
    handles = [layer.attn.qkv.register_forward_hook(lambda *given: qkvs.append(given[2]))
               for layer in model.backbone.layers]
    handles.append(model.backbone.layers[-1].register_forward_hook(
        lambda *given: outputs.append(given[2])))
    with torch.no_grad():
        for index in range(len(view)):
            inputs = model.data_preprocessor(dict(inputs=view[index]['inputs'][None]))['inputs']
            model.backbone(inputs)
    for handle in handles:
        handle.remove()
    q, k, _ = torch.cat(qkvs).double().unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
    matrices = (q @ k.mT / 8**.5).exp()
    matrices = (matrices / matrices.sum(dim=-1, keepdim=True)).numpy()
    return np.stack([matrices[::2], matrices[1::2]]), torch.cat(outputs).double().numpy()


def scaled(maps):
    low, high = maps.min(axis=-1, keepdims=True), maps.max(axis=-1, keepdims=True)
    return (maps - low) / (high - low)


def by_hand(runner, source='cls', layers='last', debias=False):
    """Maps of all images in numpy."""
    matrices, features = seen(runner)
    if source == 'feature':
        left = features[:, 1:] - features[:, 1:].mean(axis=0)
        maps = np.sqrt(((left - left.mean(axis=1, keepdims=True))**2).sum(axis=2))
    else:
        rows = matrices[..., 0, :] if source == 'cls' else matrices.mean(axis=3)
        rows = rows[..., 1:].mean(axis=2)
        maps = {'last': rows[1], 'mean': rows.mean(axis=0), 0: rows[0]}[layers]
    maps = scaled(maps)
    if debias:
        mean = maps.mean(axis=0)
        maps = scaled(maps / (mean + .1 * mean.mean()))
    return maps


SOURCES = [dict(source='cls', layers='mean'), dict(layers=0), dict(source='all'),
           dict(source='all', layers='mean', debias=True), dict(source='feature'),
           dict(debias=True), dict(source='feature', debias=True)]


@pytest.mark.parametrize('settings', SOURCES, ids=str)
def test_maps_on_disk_are_those_by_hand(toy_runner, settings):
    """7 samples in batches of 3, the last one partial."""
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, **settings)], epochs=1,
                        optim_wrapper=STILL)
    with torch.no_grad():
        for layer in runner.model.backbone.layers:
            layer.attn.qkv.weight.mul_(20)
    runner.train()
    found, wanted = stored(runner.work_dir), by_hand(runner, **settings)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    assert np.abs(found - by_hand(runner)).max() > .1, 'not what the default gives'
    # The next batch is planned with them.
    assert runner.recorder.steps[0]['map_step'] == 0


def test_means_are_those_of_all_samples_whatever_part_is_refreshed(toy_runner):
    """The refreshed third equals that of a whole refresh with the same weights."""
    runs = []
    for parts in (1, 3):
        hook = SaliencyUpdateHook(1, 1, parts=parts, debias=True)
        runner = toy_runner(f'{parts}', [StepSeedHook(), hook], epochs=3, optim_wrapper=FAST)
        runner.train()
        runs.append([stored(runner.work_dir, epoch) for epoch in (1, 2)])
    whole, part = runs
    assert np.array_equal(whole[0], part[0])
    for sample in range(7):
        if sample % 3:
            assert np.array_equal(part[1][sample], part[0][sample])
    # Epoch 1 was trained by the same maps, so the weights are the same.
    for sample in (0, 3, 6):
        np.testing.assert_allclose(part[1][sample], whole[1][sample], rtol=0, atol=1e-3)
        assert np.abs(whole[1][sample] - whole[0][sample]).max() > .01


def test_samples_of_the_means_are_spread_and_bounded(toy_runner, monkeypatch):
    """With at most 3 samples allowed, 7 give samples 0, 3 and 6."""
    monkeypatch.setattr(refresh, 'AVERAGED', 3)
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, debias=True)], epochs=1,
                        optim_wrapper=STILL)
    runner.train()
    maps = by_hand(runner)
    mean = maps[[0, 3, 6]].mean(axis=0)
    np.testing.assert_allclose(stored(runner.work_dir),
                               scaled(maps / (mean + .1 * mean.mean())), rtol=0, atol=2e-3)


def test_flat_maps_do_not_count_in_the_mean(toy_runner, monkeypatch):
    look = SaliencySource._raw_maps

    def one_flat(self, values, means):
        maps = look(self, values, means)
        maps[0] = 0  # samples 0, 3 and 6
        return maps

    monkeypatch.setattr(SaliencySource, '_raw_maps', one_flat)
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, debias=True)], epochs=1,
                        optim_wrapper=STILL)
    runner.train()
    maps, found = by_hand(runner), stored(runner.work_dir)
    some = [1, 2, 4, 5]
    mean = maps[some].mean(axis=0)
    np.testing.assert_allclose(found[some], scaled(maps[some] / (mean + .1 * mean.mean())),
                               rtol=0, atol=2e-3)
    assert not found[[0, 3, 6]].any()


@pytest.mark.parametrize('settings', [dict(source='feature'), dict(debias=True)], ids=str)
def test_a_resumed_run_equals_the_unbroken_one(toy_runner, settings):
    def hooks():
        return [StepSeedHook(), SaliencyUpdateHook(1, 2, **settings)]

    whole = toy_runner('whole', hooks(), epochs=4)
    whole.train()
    broken = toy_runner('broken', hooks(), epochs=2)
    broken.train()
    again = toy_runner('broken', hooks(), epochs=4, resume=True)
    again.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    for epoch in (1, 3):
        assert np.array_equal(stored(whole.work_dir, epoch), stored(again.work_dir, epoch))


@pytest.mark.slow
def test_two_processes_give_the_maps_of_one(toy_runner, tmp_path):
    """7 samples for 2 processes: one share is padded, which must not count twice in the means."""
    settings = dict(begin=0, interval=9, batch_size=2, source='feature', debias=True)
    one = toy_runner('one', [SaliencyUpdateHook(**settings)], epochs=1)
    one.train()
    script = Path(__file__).parent / 'two_processes.py'
    in_two_real_processes(script, tmp_path / 'two', json.dumps(dict(hook=settings)))
    found, wanted = stored(tmp_path / 'two'), stored(one.work_dir)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize('processes', [2, 3, 5])
def test_shares_of_the_means_count_every_sample_once(toy_runner, monkeypatch, processes):
    """In one process, which plays each of several in turn and adds up what they have."""
    runner = toy_runner(hooks=[], epochs=1)
    settings = SaliencyUpdateHook(debias=True, batch_size=2).settings
    view = settings.view(runner.train_dataloader.dataset)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    wanted = settings.means(runner, view)['map']
    parts = []
    for rank in range(processes):
        monkeypatch.setattr(refresh, 'get_world_size', lambda: processes)
        monkeypatch.setattr(refresh, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(refresh, 'all_reduce', lambda part: parts.append(part.clone()))
        settings.means(runner, view)
    assert int(sum(parts[1::2])) == 7
    torch.testing.assert_close((sum(parts[::2]) / 7).float(), wanted)


@pytest.mark.parametrize(('settings', 'field'), [
    (dict(source='value'), 'source='), (dict(debias='yes'), 'debias='),
    (dict(source='feature', normalize='head'), 'normalize=')])
def test_a_setting_that_makes_no_sense_is_named_when_the_hook_is_made(settings, field):
    with pytest.raises(InputError, match=f'^{field}'):
        SaliencyUpdateHook(**settings)


def test_a_block_that_is_not_there_is_refused_at_the_start(toy_runner):
    runner = toy_runner(hooks=[SaliencyUpdateHook(3, layers=2)])
    with pytest.raises(InputError, match='layers=2: AMTMAEViT has 2 blocks, 0 to 1'):
        runner.train()
    assert not runner.recorder.steps


def test_what_an_image_costs_follows_the_source(toy_mae):
    backbone = toy_mae().to('meta').backbone
    n, d, block = 36, 24, 8 * 36 * 24**2 + 2 * 36**2 * 24  # MLP of width 48 on 24
    embed = 35 * 192 * d
    wanted = {
        SaliencySource(): embed + block + (1 + n) * d**2 + n * d,
        SaliencySource(layers=0): embed + (1 + n) * d**2 + n * d,
        SaliencySource(layers='mean'): embed + block + 2 * ((1 + n) * d**2 + n * d),
        SaliencySource('all'): embed + block + 2 * n * d**2 + n**2 * d,
        SaliencySource('feature'): embed + 2 * block,
        SaliencySource(debias=True): embed + block + (1 + n) * d**2 + n * d}
    for source, cost in wanted.items():
        assert counted_refresh(backbone, (5, 7), source) == cost, source
