"""Refresh: the pass over whole images at another size or precision, and shared by processes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Sampler

from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook, refresh
from amt_mm.guidance.refresh import Refresh
from amt_mm.saliency import SaliencySource, SaliencyStore, SaliencyWriter

GUIDED = (15, 14, 6)
STILL = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))


def stored(runner, epoch=0):
    store = SaliencyStore(Path(runner.work_dir) / 'saliency' / f'epoch_{epoch}.amtmap')
    return store, store.lookup(torch.arange(store.num_samples))


def map_by_hand(model, image, height, width):
    """Explicit softmax of one image of ``height x width``; positions resized by OpenCV."""
    vit = model.backbone
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = torch.from_numpy(pixels).permute(2, 0, 1).float()
    pixels = (pixels - torch.tensor([120., 110, 100])[:, None, None]) / torch.tensor(
        [60., 50, 40])[:, None, None]
    positions = vit.pos_embed[0].detach()
    patches = positions[1:].reshape(5, 7, 24).numpy()
    patches = np.dstack([cv2.resize(patches[..., channel], (width // 8, height // 8),
                                    interpolation=cv2.INTER_CUBIC) for channel in range(24)])
    positions = torch.cat([positions[:1], torch.from_numpy(patches).reshape(-1, 24)])
    with torch.no_grad():
        embedded = vit.patch_embed.projection(pixels[None])[0].flatten(1).T
        tokens = (torch.cat([vit.cls_token[0], embedded]) + positions)[None]
        tokens = vit.layers[0](tokens)
        last = vit.layers[1]
        query, key, _ = last.attn.qkv(last.ln1(tokens))[0].double().chunk(3, dim=1)
    rows = []
    for head in range(3):
        part = slice(8 * head, 8 * head + 8)
        exponent = (key[:, part] @ query[0, part] / 8**.5).exp()
        rows.append((exponent / exponent.sum())[1:])
    mean = sum(rows) / 3
    return ((mean - mean.min()) / (mean.max() - mean.min())).float()


@pytest.mark.parametrize(('image_size', 'grid'), [
    ((24, 40), (3, 5)), (24, (3, 3)), ((40, 56), (5, 7)), ([56, 64], (7, 8))])
def test_another_size_resizes_image_and_positions(toy_runner, toy_images, image_size, grid):
    """Sizes the grid of 5 x 7 does not share a side with, smaller and larger."""
    dataset = toy_images(4)
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, image_size=image_size)], epochs=1,
                        dataset=dataset, optim_wrapper=STILL)
    # Far from smooth, so that any other interpolation or order of cells would show.
    with torch.no_grad():
        runner.model.backbone.pos_embed.normal_(generator=torch.Generator().manual_seed(0))
        runner.model.backbone.layers[1].attn.qkv.weight.mul_(20)
    runner.train()
    store, found = stored(runner)
    assert store.grid == grid
    runner.model.eval()
    wanted = [map_by_hand(runner.model, image, 8 * grid[0], 8 * grid[1])
              for image in dataset.images]
    torch.testing.assert_close(found.flatten(1), torch.stack(wanted), rtol=0, atol=2e-3)
    # The crops are masked on their own grid all the same.
    assert [step['masked'].shape[1] for step in runner.recorder.steps] == [15, 15]


def test_the_default_is_the_size_of_the_crops():
    assert Refresh().size is None
    assert Refresh(image_size=64).size == (64, 64)


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(image_size=0), 'image_size=0'), (dict(image_size=(32, )), r'image_size=\(32,\)'),
    (dict(image_size='160'), "image_size='160'"), (dict(image_size=16.0), r'image_size=16\.0'),
    (dict(precision='fp16'), "precision='fp16'"), (dict(dtype='float32'), "dtype='float32'"),
    (dict(normalize='rows'), "normalize='rows'"), (dict(batch_size=0), 'batch_size=0'),
    (dict(num_workers=-1), 'num_workers=-1'), (dict(batch_size=2.5), r'batch_size=2\.5'),
    (dict(parts=0), 'parts=0'), (dict(parts=1.5), r'parts=1\.5'), (dict(parts=True), 'parts=True')])
def test_a_wrong_value_is_named_when_the_hook_is_made(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        SaliencyUpdateHook(**settings)
    assert '\n' not in str(caught.value)


def test_a_size_that_the_patch_does_not_divide_is_refused_at_the_start(toy_runner):
    runner = toy_runner(hooks=[SaliencyUpdateHook(3, image_size=(40, 60))])
    with pytest.raises(InputError, match=r'image_size=\(40, 60\).*patch of 8'):
        runner.train()
    assert not runner.recorder.steps


@pytest.mark.parametrize('kind', [OverlayRunner, Runner])
def test_a_shortened_epoch_has_maps_of_all_samples(toy_runner, kind):
    """MMEngine wraps the data set for ``num_batch_per_epoch``."""
    runner = toy_runner(hooks=[SaliencyUpdateHook(1)], epochs=2, kind=kind,
                        loader=dict(num_batch_per_epoch=1))
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [None, 1]
    assert stored(runner, 1)[0].num_samples == 7


class Pairs(Sampler):
    """A batch sampler; with a ``size`` it says how many samples a batch has."""

    def __init__(self, sampler, batch_size, size=None):
        self.sampler = sampler
        if size:
            self.batch_size = size

    def __len__(self):
        return len(self.sampler) // 2

    def __iter__(self):
        return iter(torch.tensor(list(self.sampler)[:6]).split(2))


@pytest.fixture
def batch_sampler():
    DATA_SAMPLERS.register_module(module=Pairs, force=True)
    yield dict(type='Pairs')
    del DATA_SAMPLERS.module_dict['Pairs']


@pytest.mark.parametrize(('own', 'sampler', 'wanted'), [
    (None, 2, [2, 2, 2, 1]), (3, 2, [3, 3, 1]), (5, None, [5, 2])])
def test_images_at_once_with_a_batch_sampler(toy_runner, monkeypatch, batch_sampler, own, sampler,
                                             wanted):
    sizes = []
    monkeypatch.setattr(SaliencySource, 'maps', lambda source, vit, images, means: (
        sizes.append(len(images)), torch.rand(len(images), 35))[1])
    toy_runner(hooks=[SaliencyUpdateHook(1, batch_size=own)], epochs=2,
               loader=dict(batch_sampler=dict(batch_sampler, size=sampler))).train()
    assert sizes == wanted


def test_a_batch_sampler_without_a_batch_size_is_refused_at_the_start(toy_runner, batch_sampler):
    runner = toy_runner(hooks=[SaliencyUpdateHook(1)], loader=dict(batch_sampler=batch_sampler))
    with pytest.raises(InputError, match='set batch_size of the SaliencyUpdateHook'):
        runner.train()
    assert not runner.recorder.steps


def test_a_model_made_for_another_size_than_the_crops_is_refused(toy_runner, toy_mae):
    model = toy_mae(build=False, backbone=dict(img_size=(40, 48)))
    runner = toy_runner(hooks=[SaliencyUpdateHook(0)], model=model)
    with pytest.raises(InputError, match='5x7 patches.*built for 5x6: set model.backbone.img_size'):
        runner.train()


def test_bf16_on_a_gpu_without_it_is_refused_at_the_start(toy_mae, monkeypatch):
    model, loader = toy_mae(), DataLoader([0], batch_size=1)
    monkeypatch.setattr(type(model.data_preprocessor), 'device', torch.device('cuda'))
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: False)
    Refresh(precision='fp32').check(model, loader)
    with pytest.raises(InputError, match="precision='bf16'"):
        Refresh(precision='bf16').check(model, loader)


@pytest.mark.parametrize(('training', 'precision', 'wanted'), [
    ('OptimWrapper', None, torch.float32), ('OptimWrapper', 'bf16', torch.bfloat16),
    ('amt_mm.BF16OptimWrapper', None, torch.bfloat16),
    ('amt_mm.BF16OptimWrapper', 'fp32', torch.float32)])
def test_precision_is_that_of_the_refresh_alone(toy_runner, training, precision, wanted):
    seen = {True: set(), False: set()}
    runner = toy_runner(
        hooks=[SaliencyUpdateHook(0, 9, precision=precision)], epochs=1,
        optim_wrapper=dict(type=training, optimizer=dict(type='SGD', lr=0.)))
    runner.model.backbone.layers[0].attn.qkv.register_forward_hook(
        lambda module, args, output: seen[torch.is_grad_enabled()].add(output.dtype))
    runner.train()
    assert seen[False] == {wanted}
    assert seen[True] == {torch.float32 if training == 'OptimWrapper' else torch.bfloat16}
    maps = stored(runner)[1]
    assert torch.equal(maps.flatten(1).amax(dim=1), torch.ones(7))


def test_bf16_maps_are_near_but_not_the_same(toy_runner):
    maps = []
    for precision in ('fp32', 'bf16'):
        runner = toy_runner(precision, [SaliencyUpdateHook(0, 9, precision=precision)], epochs=1,
                            optim_wrapper=STILL)
        runner.train()
        maps.append(stored(runner)[1])
    assert 0 < (maps[0] - maps[1]).abs().max() < .1


@pytest.mark.parametrize(('dtype', 'kind'), [('float16', torch.float16), ('uint8', torch.uint8)])
def test_maps_cross_between_processes_as_they_are_stored(toy_runner, tmp_path, monkeypatch, dtype,
                                                         kind):
    """And arrive as the file would have kept them without that."""
    crossed, made = set(), []
    gather, maps_of = refresh.all_gather, SaliencySource.maps

    def watch(part):
        if part.dim() == 2:
            crossed.add(part.dtype)
        return gather(part)

    def keep(*args, **kwargs):
        made.append(maps_of(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(refresh, 'all_gather', watch)
    monkeypatch.setattr(SaliencySource, 'maps', keep)
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, dtype=dtype)], epochs=1)
    runner.train()
    assert crossed == {kind}
    store, found = stored(runner)
    writer = SaliencyWriter(tmp_path / 'direct', 7, (5, 7), store.fingerprint, 0, dtype)
    writer.write(torch.arange(7), torch.cat(made))
    assert torch.equal(SaliencyStore(writer.commit()).lookup(torch.arange(7)), found)


@pytest.mark.parametrize('processes', [1, 2, 3, 5])
@pytest.mark.parametrize('rows', [range(7), range(1, 12, 5), range(1), range(3, 40, 4)])
@pytest.mark.parametrize('batch_size', [1, 2, 3])
def test_gathered_shares_hold_every_sample_once(monkeypatch, processes, rows, batch_size):
    """Also where there are fewer samples than processes, or a last batch that is not full."""
    monkeypatch.setattr(refresh, 'get_world_size', lambda: processes)
    shares = []
    for rank in range(processes):
        monkeypatch.setattr(refresh, 'get_rank', lambda rank=rank: rank)
        share = refresh._Share(rows)
        shares.append(list(share))
        assert len(shares[-1]) == len(share)
    assert len(set(map(len, shares))) == 1, 'equal shares, or one process would wait'
    found = []
    for start in range(0, len(shares[0]), batch_size):
        parts = [torch.tensor(share[start:start + batch_size]) for share in shares]
        monkeypatch.setattr(refresh, 'all_gather', lambda part, parts=parts: parts)
        found += refresh._gather_rows(parts[0]).tolist()
    assert found[:len(rows)] == list(rows)
