"""Samples seeded by their keys, and the wrapper."""

import copy
import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader, Dataset

from amt_mm import random_streams
from amt_mm.datasets import SeededSamples, StagedDataset, base_dataset, dataset_fingerprint
from amt_mm.datasets.seeded import SampleKey
from amt_mm.datasets.seeded_sampler import SeededSampler, begin_pass, seeded_sampler
from amt_mm.datasets.whole_image import whole_image_view


class Draws(Dataset):
    """Samples made of draws from the three streams."""

    metainfo = {'classes': ('a', 'b')}

    def __len__(self):
        return 50

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def keys(number=0, skipped=0, seed=3, sampler=None):
    keyed = SeededSampler(sampler or DefaultSampler(Draws(), shuffle=False), Draws(), seed)
    keyed.begin(number, skipped)
    return keyed


def test_a_key_is_an_index_that_can_be_pickled():
    key = pickle.loads(pickle.dumps(SampleKey(7, 2**64 - 1)))
    assert key == 7 and [*range(9)][key] == 7 and key.seed == 2**64 - 1


def test_a_sample_depends_on_its_key_only():
    samples, drawn = SeededSamples(Draws()), list(keys())
    one_by_one = [samples[key] for key in drawn]
    random.random(), np.random.rand(3), torch.rand(3)
    assert samples.__getitems__(drawn[::-1])[::-1] == one_by_one
    for values in list(zip(*one_by_one, strict=True))[1:]:
        assert len(set(values)) == 50


def test_seeds_are_unique_over_passes_ranks_and_runs(monkeypatch):
    seeds = []
    for rank in (0, 1):
        monkeypatch.setattr(random_streams, 'get_rank', lambda rank=rank: rank)
        seeds += [key.seed for number in range(4) for seed in (3, 4)
                  for key in keys(number, seed=seed)]
    assert len(set(seeds)) == len(seeds) == 2 * 4 * 2 * 50


@pytest.mark.parametrize('skipped', [1, 49, 50])
def test_skipping_does_not_change_the_rest(skipped):
    whole = [(key, key.seed) for key in keys(2)]
    assert [(key, key.seed) for key in keys(2, skipped)] == whole[skipped:]


def test_seeds_continue_across_blocks():
    def take(start, stop):
        endless = InfiniteSampler(Draws(), seed=1)
        return [(key, key.seed) for key in itertools.islice(
            iter(keys(0, start, sampler=endless)), stop - start)]

    whole = take(0, 2100)
    assert len({seed for _, seed in whole}) == 2100
    assert take(1020, 2100) == whole[1020:]


def test_a_loop_that_sets_no_pass_gets_new_seeds_each_time():
    sampler = keys()
    assert not {key.seed for key in sampler} & {key.seed for key in sampler}


def test_streams_of_the_main_process_are_restored():
    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()

    samples, drawn = SeededSamples(Draws()), list(keys())
    random_streams.seed_cpu_streams(2**63)
    wanted = draw()
    random_streams.seed_cpu_streams(2**63)
    assert samples[drawn[0]] and samples.__getitems__(drawn)
    assert draw() == wanted


def test_a_plain_index_draws_from_the_streams_in_use():
    samples = SeededSamples(Draws())
    assert samples[3] == samples[3]
    np.random.seed(0)
    first = samples[3]
    np.random.seed(1)
    assert first[2] != samples[3][2]


@pytest.mark.parametrize('workers', [1, 2])
def test_draws_of_a_collate_function_in_a_worker_are_repeatable(workers):
    def load(workers):
        loader = DataLoader(SeededSamples(Draws()), 4, sampler=keys(), num_workers=workers,
                            collate_fn=lambda batch: np.random.rand())
        return list(loader)

    assert load(1) == load(workers)


def test_a_loader_can_begin_with_any_batch():
    loader = DataLoader(SeededSamples(Draws()), 4, sampler=keys(), collate_fn=list)
    whole = list(loader)
    begin_pass(loader, 0, 9)
    assert list(loader) == whole[9:]
    assert seeded_sampler(loader) is loader.sampler
    assert seeded_sampler(DataLoader(Draws())) is None


class Unreadable(BaseDataset):
    """Every other sample is None, and replaced by a random one."""

    def __init__(self):
        super().__init__(pipeline=[lambda info: info['index'] if info['index'] % 2 else None],
                         serialize_data=False)

    def load_data_list(self):
        return [dict(index=index) for index in range(50)]


@pytest.mark.parametrize('staged', [False, True])
def test_replacements_of_unreadable_samples_are_repeatable(staged):
    def load(draws):
        np.random.rand(draws)
        dataset = StagedDataset(Unreadable()) if staged else Unreadable()
        return SeededSamples(dataset).__getitems__(list(keys()))

    first = load(0)
    assert all(index % 2 for index in first) and first[1::2] == list(range(1, 50, 2))
    assert load(9) == first


def test_the_wrapper_delegates_to_the_data_set(toy_images):
    dataset = toy_images(7)
    samples = SeededSamples(StagedDataset(dataset))
    assert base_dataset(samples) is dataset
    assert dataset_fingerprint(samples) == dataset_fingerprint(dataset)
    assert len(whole_image_view(samples)) == len(samples) == 7
    assert samples.metainfo == dataset.metainfo
    assert not hasattr(SeededSamples(Draws()), 'pipeline')


def test_setting_the_pipeline_sets_that_of_the_data_set(toy_images):
    dataset = toy_images(7)
    samples = SeededSamples(dataset)
    samples.pipeline = lambda info: 'switched'
    assert dataset.pipeline is samples.pipeline and samples[0] == 'switched'


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy,
                                    lambda x: pickle.loads(pickle.dumps(x))])
def test_it_can_be_copied(copied):
    samples = copied(SeededSamples(Draws()))
    assert len(samples) == 50 and samples.metainfo == Draws.metainfo
    assert len(copied(keys())) == 50


class Stubborn(Draws):
    """A data set with its own rule for copies, as all have for state since Python 3.11."""

    def __deepcopy__(self, memo):
        return Stubborn()


def test_copying_ignores_the_rules_of_the_data_set():
    class StubbornSampler(DefaultSampler):
        def __deepcopy__(self, memo):
            return self

    assert isinstance(copy.deepcopy(SeededSamples(Stubborn())), SeededSamples)
    keyed = keys(sampler=StubbornSampler(Draws(), shuffle=False))
    assert isinstance(copy.deepcopy(keyed), SeededSampler)
