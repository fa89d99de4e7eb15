"""AMTDataPreprocessor: the map of each sample, its crop and flip, and unusable maps."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset as MmengineConcatDataset
from mmengine.dataset import RepeatDataset, default_collate, worker_init_fn
from mmpretrain.structures import DataSample
from partitions import assert_partition
from torch.utils.data import DataLoader

from amt_mm.datasets import ConcatDataset, dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.masking import RandomMaskGenerator
from amt_mm.models import AMTDataPreprocessor
from amt_mm.saliency import SaliencyStore, SaliencyWriter

GRID = (5, 7)
PIPELINE = [dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56)),
            dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical', 'diagonal']),
            dict(type='amt_mm.PackInputsWithBox')]


@pytest.fixture
def make_store(tmp_path):
    def make(maps):
        maps = torch.as_tensor(np.asarray(maps, dtype=np.float32))
        writer = SaliencyWriter(tmp_path / 'maps', len(maps), maps.shape[1:], 'x')
        writer.write(torch.arange(len(maps)), maps)
        return SaliencyStore(writer.commit())

    return make


def make_preprocessor(store=None, **generator):
    preprocessor = AMTDataPreprocessor(dict(type='amt_mm.AMTMaskGenerator', **generator))
    preprocessor.patch_size = 8
    preprocessor.store = store
    return preprocessor


def batch_of(boxes=((0, 0, 1, 1), ), sample_idx=None, height=40, width=56):
    samples = []
    for row, box in enumerate(boxes):
        sample = DataSample()
        sample.set_metainfo(dict(sample_idx=sample_idx[row] if sample_idx else row, crop_box=box,
                                 flip=False))
        samples.append(sample)
    return dict(inputs=torch.zeros(len(boxes), 3, height, width, dtype=torch.uint8),
                data_samples=samples)


def flat_images(values):
    """Images of one colour each, which is invariant under crops, resizing and flips."""
    return [np.full((44 + 5 * (i % 3), 80 - 7 * (i % 2), 3), value, dtype=np.uint8)
            for i, value in enumerate(values)]


def check_every_batch(preprocessor, dataset, **loader):
    """Check that weights equal the colours of the images; returns the sorted colours."""
    seen = []
    for batch in DataLoader(dataset, batch_size=3, shuffle=True, collate_fn=default_collate,
                            **loader):
        weights = preprocessor.look_up_weights(batch['data_samples'], GRID)
        colours = batch['inputs'].float().mean(dim=(1, 2, 3))
        torch.testing.assert_close(weights, (colours / 256)[:, None].expand(-1, 35), rtol=0,
                                   atol=1e-3)
        seen += colours.tolist()
    return sorted(seen)


VALUES = [16, 240, 64, 128, 32, 200, 100]


@pytest.mark.parametrize('workers', [0, 1])
def test_row_i_is_sample_i_under_shuffling(toy_images, make_store, workers):
    dataset = toy_images(flat_images(VALUES), PIPELINE)
    store = make_store([np.full(GRID, value / 256) for value in VALUES])
    assert check_every_batch(make_preprocessor(store), dataset,
                             num_workers=workers) == sorted(VALUES)


@pytest.mark.parametrize('serialize', [True, False])
@pytest.mark.parametrize('indices', [4, [5, 1, 6]])
def test_row_i_is_sample_i_of_a_subset(toy_images, make_store, indices, serialize):
    dataset = toy_images(flat_images(VALUES), PIPELINE, indices=indices,
                         serialize_data=serialize)
    kept = VALUES[:4] if indices == 4 else [VALUES[i] for i in indices]
    store = make_store([np.full(GRID, value / 256) for value in kept])
    assert check_every_batch(make_preprocessor(store), dataset) == sorted(kept)


def test_repeated_data_set_reads_each_row_again(toy_images, make_store):
    dataset = RepeatDataset(toy_images(flat_images(VALUES), PIPELINE), times=3)
    store = make_store([np.full(GRID, value / 256) for value in VALUES])
    assert check_every_batch(make_preprocessor(store), dataset) == sorted(VALUES * 3)


@pytest.mark.parametrize('repeat', [1, 2])
def test_concatenated_data_sets_do_not_share_rows(toy_images, make_store, repeat):
    parts = [VALUES[:3], VALUES[3:4], VALUES[4:]]
    datasets = [toy_images(flat_images(part), PIPELINE) for part in parts]
    if repeat == 1:
        dataset = ConcatDataset(datasets)
    else:
        dataset = RepeatDataset(dict(type='amt_mm.ConcatDataset', datasets=datasets), repeat)
    store = make_store([np.full(GRID, value / 256) for value in VALUES])
    assert check_every_batch(make_preprocessor(store), dataset) == sorted(VALUES * repeat)


def test_mmengines_concatenation_is_rejected(toy_images):
    parts = [toy_images(flat_images(VALUES[:3]), PIPELINE) for _ in range(2)]
    with pytest.raises(InputError, match='amt_mm.ConcatDataset'):
        dataset_fingerprint(MmengineConcatDataset(parts))


def smooth_map(chance):
    """A map without any symmetry under flips."""
    return np.clip(chance.rand(*GRID) * 0.3 + np.linspace(0, 0.5, 35).reshape(GRID)
                   * (chance.rand() + 0.5), 0, 1).astype(np.float32)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('prob', [0.0, 1.0])
def test_saliency_follows_crop_and_flip(toy_images, make_store, direction, prob):
    """The image is its resized map, so that the crop's patches show their expected weights."""
    chance = np.random.RandomState(3)
    maps = [smooth_map(chance) for _ in range(6)]
    images = [np.repeat(cv2.resize(m * 255, (210 - 20 * i, 100 + 30 * i),
                                   interpolation=cv2.INTER_LINEAR).round().astype(np.uint8)
                        [:, :, None], 3, axis=2) for i, m in enumerate(maps)]
    pipeline = [dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56),
                     crop_ratio_range=(0.1, 0.6), interpolation='area'),
                dict(type='RandomFlip', prob=prob, direction=direction),
                dict(type='amt_mm.PackInputsWithBox')]
    preprocessor = make_preprocessor(make_store(maps))
    np.random.seed(0)
    for _ in range(3):
        for batch in DataLoader(toy_images(images, pipeline), batch_size=4,
                                collate_fn=default_collate):
            assert {sample.flip for sample in batch['data_samples']} == {bool(prob)}
            weights = preprocessor.look_up_weights(batch['data_samples'], GRID).reshape(-1, *GRID)
            shown = batch['inputs'][:, 0].float().reshape(-1, 5, 8, 7, 8).mean(dim=(2, 4)) / 255
            torch.testing.assert_close(weights, shown, rtol=0, atol=0.02)


def test_hot_cell_of_the_map_is_found_at_its_place_in_the_crop(make_store):
    hot = np.zeros((6, *GRID))
    hot[:, 1, 5] = 1
    preprocessor = make_preprocessor(make_store(hot), mask_ratio=1 / 35, throw_ratio=0.0)
    # The box shows cells 4..6 of rows 0..2, so that the hot one is in the middle of 3 x 3.
    batch = batch_of([(4 / 7, 0, 1, 3 / 5)] * 6, height=24, width=24)
    flips = [None, 'horizontal', 'vertical', 'diagonal', None, None]
    for sample, flip in zip(batch['data_samples'], flips, strict=True):
        sample.set_metainfo(dict(flip=flip is not None, flip_direction=flip))
    weights = preprocessor.look_up_weights(batch['data_samples'], (3, 3))
    assert weights.argmax(dim=1).tolist() == [4] * 6
    # Here the hot cell is the top left one, and flips move it to the other corners.
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(crop_box=(5 / 7, 1 / 5, 1, 3 / 5)))
    weights = preprocessor.look_up_weights(batch['data_samples'], (2, 2))
    assert weights.argmax(dim=1).tolist() == [0, 1, 2, 3, 0, 0]


def test_flip_direction_is_ignored_without_a_flip(make_store):
    preprocessor = make_preprocessor(make_store(np.random.RandomState(0).rand(1, *GRID)))
    batch = batch_of()
    plain = preprocessor.look_up_weights(batch['data_samples'], GRID)
    # RandomFlip sets the direction to None; custom transforms may not.
    for direction in (None, 'horizontal'):
        batch['data_samples'][0].set_metainfo(dict(flip=False, flip_direction=direction))
        assert torch.equal(preprocessor.look_up_weights(batch['data_samples'], GRID), plain)


def test_samples_with_unusable_maps_are_counted(make_store):
    maps = np.random.RandomState(0).rand(6, *GRID)
    maps[1], maps[2], maps[4, 2, 2], maps[5, 0, 0] = 0, 0.5, np.nan, np.inf
    preprocessor = make_preprocessor(make_store(maps))
    assert int(preprocessor.fallbacks) == 0
    plan = preprocessor(batch_of([(0, 0, 1, 1)] * 6), training=True)['plan']
    assert_partition(plan)
    assert int(preprocessor.fallbacks) == 4
    preprocessor(batch_of([(0, 0, 1, 1)] * 2, sample_idx=[3, 2]), training=True)
    assert int(preprocessor.fallbacks) == 5
    # Without a plan they are not counted.
    preprocessor(batch_of([(0, 0, 1, 1)] * 6), training=False)
    assert int(preprocessor.fallbacks) == 5


def test_sample_without_a_map_is_masked_uniformly(make_store):
    maps = np.zeros((2, *GRID))
    maps[0, 0, :] = 1
    preprocessor = make_preprocessor(make_store(maps))
    torch.manual_seed(0)
    repeats = 1500
    plan = preprocessor(batch_of([(0, 0, 1, 1)] * 2 * repeats, [0, 1] * repeats),
                        training=True)['plan']
    masked = (plan.states() == 1).float()
    guided, uniform = masked[::2].mean(dim=0), masked[1::2].mean(dim=0)
    # The standard error of a frequency of 15 in 35 is .0128.
    assert (uniform - 15 / 35).abs().max() < 5 * 0.0128
    assert guided[:7].min() > 0.95


def test_warm_up_masks_by_its_own_ratio_and_throws_nothing():
    preprocessor = make_preprocessor()
    result = preprocessor(batch_of([(0, 0, 1, 1)] * 2), training=True)
    assert [ids.shape for ids in (result['plan'].masked, result['plan'].thrown,
                                  result['plan'].visible)] == [(2, 26), (2, 0), (2, 9)]
    assert int(preprocessor.fallbacks) == 0
    assert 'plan' not in preprocessor(batch_of(), training=False)


def test_guided_plan_has_the_papers_ratios_for_a_batch_of_one(make_store):
    preprocessor = make_preprocessor(make_store(np.random.RandomState(0).rand(1, *GRID)))
    plan = preprocessor(batch_of(), training=True)['plan']
    assert [ids.shape for ids in (plan.masked, plan.thrown, plan.visible)] == [
        (1, 15), (1, 14), (1, 6)]
    assert plan.grid == GRID


def test_random_generator_does_not_look_up_maps(make_store):
    preprocessor = AMTDataPreprocessor(RandomMaskGenerator(0.45, 0.40))
    preprocessor.patch_size, preprocessor.store = 8, make_store(np.zeros((1, *GRID)))
    batch = batch_of()
    batch['data_samples'] = [DataSample()]
    plan = preprocessor(batch, training=True)['plan']
    assert plan.thrown.shape == (1, 14) and int(preprocessor.fallbacks) == 0


def test_images_are_normalised_and_samples_are_unchanged():
    preprocessor = AMTDataPreprocessor(dict(type='amt_mm.RandomMaskGenerator'),
                                       mean=[10, 20, 30], std=[2, 4, 8], to_rgb=True)
    preprocessor.patch_size = 8
    batch = batch_of()
    batch['inputs'] = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    result = preprocessor(batch, training=True)
    for channel, (mean, std) in enumerate([(10, 2), (20, 4), (30, 8)]):
        wanted = (batch['inputs'][0, 2 - channel].double() - mean) / std
        torch.testing.assert_close(result['inputs'][0, channel].double(), wanted)
    assert result['inputs'].dtype == torch.float32
    assert result['data_samples'][0] is batch['data_samples'][0]


def test_resampling_is_done_in_fp32_under_autocast(make_store):
    preprocessor = make_preprocessor(make_store(np.random.RandomState(0).rand(1, *GRID)))
    samples = batch_of([(0.113, 0.271, 0.613, 0.777)])['data_samples']
    wanted = preprocessor.look_up_weights(samples, GRID)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = preprocessor.look_up_weights(samples, GRID)
    assert found.dtype == torch.float32 and torch.equal(found, wanted)


def test_store_is_not_in_checkpoints(make_store):
    preprocessor = make_preprocessor(make_store(np.zeros((1, *GRID))))
    assert not list(preprocessor.state_dict())


@pytest.mark.parametrize(('missing', 'transform'), [
    ('crop_box', 'RandomResizedCropWithBox'), ('sample_idx', 'PackInputsWithBox')])
def test_transform_missing_from_the_pipeline_is_named(make_store, missing, transform):
    preprocessor = make_preprocessor(make_store(np.random.rand(1, *GRID)))
    batch = batch_of()
    sample = DataSample()
    sample.set_metainfo({key: value for key, value in batch['data_samples'][0].metainfo_items()
                         if key != missing})
    batch['data_samples'] = [sample]
    with pytest.raises(InputError, match=f'`{missing}`.*{transform}'):
        preprocessor(batch, training=True)


def test_crop_that_is_not_a_multiple_of_the_patch_is_rejected():
    with pytest.raises(InputError, match='41x56.*patch_size=8'):
        make_preprocessor()(batch_of(height=41), training=True)


def test_sample_without_a_row_is_rejected(make_store):
    preprocessor = make_preprocessor(make_store(np.random.rand(1, *GRID)))
    with pytest.raises(InputError, match='outside the 1 maps'):
        preprocessor(batch_of(sample_idx=[1]), training=True)


def test_workers_send_only_metadata_and_no_maps(toy_images):
    dataset = toy_images(2, PIPELINE)
    loader = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=default_collate,
                        worker_init_fn=lambda i: worker_init_fn(i, 1, 0, 5))
    sample = next(iter(loader))['data_samples'][0]
    assert set(sample.metainfo_keys()) <= {'sample_idx', 'crop_box', 'flip', 'flip_direction',
                                           'img_path'}
    assert not list(sample.keys()) and len(sample.crop_box) == 4


def test_normalisation_equals_mmpretrains():
    from mmpretrain.models import SelfSupDataPreprocessor
    settings = dict(mean=[120., 110, 100], std=[60., 50, 40], to_rgb=True)
    images = torch.randint(0, 256, (3, 3, 8, 16), dtype=torch.uint8)
    ours = AMTDataPreprocessor(dict(type='amt_mm.RandomMaskGenerator'), **settings)
    theirs = SelfSupDataPreprocessor(**settings)
    batch = dict(inputs=images, data_samples=None)
    assert torch.equal(ours(batch)['inputs'], theirs(batch)['inputs'])


def test_padding_is_rejected():
    with pytest.raises(InputError, match='pad_size_divisor'):
        AMTDataPreprocessor(dict(type='amt_mm.RandomMaskGenerator'), pad_size_divisor=32)
