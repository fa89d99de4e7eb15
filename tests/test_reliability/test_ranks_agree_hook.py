"""RanksAgreeHook: each disagreement stops both processes, with the same line."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forked_group import in_two_processes
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from amt_mm.engine.runner import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.reliability import RanksAgreeHook, agreement, ranks_agree_hook
from amt_mm.reliability.agreement import check_agreement, check_configs, weights_checksum

CFG = dict(model=dict(type='X', depth=12, sizes=[1, 2]), train_dataloader=dict(
    dataset=dict(data_root='data/a'), batch_size=4), resume=False)
CHECKPOINT = dict(meta=dict(iter=30), state_dict={'w': torch.arange(6.)},
                  amt_saliency=dict(file='epoch_1.amtmap', crc32=7))


def changed(**settings):
    cfg = Config(CFG)
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in settings.items()})
    return cfg


# What differs at rank 1 -> what the line says of it.
CASES = {
    'nothing': (dict(), None),
    'place of the data': (dict(cfg=changed(train_dataloader__dataset__data_root='/x')), None),
    'setting': (dict(cfg=changed(model__depth=11)),
                r"the config's model.depth: rank 0 has 12, rank 1 has 11"),
    'list': (dict(cfg=changed(model__sizes=[1, 3])),
             r'model.sizes.1: rank 0 has 2, rank 1 has 3'),
    'settings': (dict(cfg=changed(new=1, resume=True)),
                 r"config's new and resume: rank 0 has nothing, rank 1 has 1"),
    'seed': (dict(seed=1), r'the seed: rank 0 has 0, rank 1 has 1'),
    'seeds of their own': (dict(seed=1, rank=1, randomness=dict(diff_rank_seed=True)), None),
    'iteration': (dict(iter=30), r'the iteration to go on from: rank 0 has 0, rank 1 has 30'),
    'checkpoint': (dict(checkpoint={**CHECKPOINT, 'meta': dict(iter=20)}),
                   r'the iteration of the checkpoint: rank 0 has 30, rank 1 has 20'),
    'no checkpoint': (dict(checkpoint=None),
                      r'the iteration of the checkpoint: rank 0 has 30, rank 1 has None'),
    'weights of the checkpoint': (
        dict(checkpoint={**CHECKPOINT, 'state_dict': {'w': torch.arange(6.) + 1e-6}}),
        r'the weights of the checkpoint: rank 0 has \w{8}, rank 1 has \w{8}'),
    'maps': (dict(checkpoint={**CHECKPOINT, 'amt_saliency': dict(
        file='epoch_1.amtmap', crc32=8)}), r"the maps of the checkpoint: .*'crc32': 8"),
    'fewer images': (dict(images=6), r'the number of training samples: rank 0 has 7, rank 1 has 6'),
    'other images': (dict(images='other'), r'the training set \(fingerprint\): rank 0 has 7-'),
    'other images in a part': (dict(images='other parts'),
                               r'the training set \(fingerprint\): rank 0 has 7-'),
    'version': (dict(version='0.0.9'), r'the version of amt_mm: rank 0 has .*, rank 1 has 0.0.9'),
    'weights': (dict(weight=1.0), r'the weights to begin with \(checksum\)'),
}


@pytest.fixture
def together(toy_images, monkeypatch):
    """What the hook says of each case, by name, in this process of two."""
    sets = {7: toy_images(7), 6: toy_images(6),
            'other': toy_images([*toy_images(7).images[:6], np.zeros((9, 9, 3), np.uint8)])}

    # MMEngine's, which guided masking cannot use, is good enough for all other training.
    sets['other parts'] = ConcatDataset([sets[7], sets['other']])
    sets['parts'] = ConcatDataset([sets[7], sets[7]])

    def one(case, images):
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Linear(3, 2))
        with torch.no_grad():
            model.module.bias += case.get('weight', 0)
        runner = SimpleNamespace(
            cfg=case.get('cfg', Config(CFG)), seed=case.get('seed', 0), iter=case.get('iter', 0),
            model=model, rank=case.get('rank', 0), _randomness_cfg=case.get('randomness', {}),
            train_dataloader=SimpleNamespace(dataset=sets[case.get('images', images)]))
        hook = RanksAgreeHook()
        checkpoint = case.get('checkpoint', CHECKPOINT)
        if checkpoint:
            hook.after_load_checkpoint(runner, checkpoint)
        monkeypatch.setattr(ranks_agree_hook, '__version__', case.get('version', '0.1.0'))
        try:
            hook.before_train(runner)
            hook.before_train_epoch(runner)
        except InputError as error:
            return str(error)
        return None

    def images_of(case):
        return 'parts' if case.get('images') == 'other parts' else 7

    return lambda rank: {name: one(case if rank else {}, images_of(case))
                         for name, (case, _) in CASES.items()}


def test_each_disagreement_stops_both(together, tmp_path):
    first, second = in_two_processes(together, tmp_path)
    assert first == second and first.keys() == CASES.keys()
    for name, (_, wanted) in CASES.items():
        if wanted is None:
            assert first[name] is None, name
        else:
            assert re.search(wanted, first[name]) and '\n' not in first[name], first[name]


def test_runs_of_ours_compare_and_train(tmp_path, toy_runner, toy_images):
    def train(rank):
        said = []
        for turn, number in enumerate((7, 7 - rank)):
            runner = toy_runner(
                f'run{turn}', kind=OverlayRunner, launcher='pytorch', epochs=1,
                dataset=toy_images(number), cfg=Config(dict(model_wrapper_cfg=dict(
                    type='MMDistributedDataParallel', device_ids=None))))
            try:
                runner.train()
            except InputError as error:
                said.append(str(error))
            said.append(runner.iter)
        return said

    first, second = in_two_processes(train, tmp_path)
    assert first == second
    assert first[0] == 2 and 'the number of training samples' in first[1] and first[2] == 0


def test_samples_without_names_are_counted_alone(toy_images, monkeypatch):
    class Numbers(BaseDataset):
        def load_data_list(self):
            return [dict(number=number) for number in range(3)]

    said = []
    monkeypatch.setattr(ranks_agree_hook, 'get_world_size', lambda: 2)
    monkeypatch.setattr(agreement, 'all_gather_object', lambda item: [item, item])
    dataset = ConcatDataset([Numbers(serialize_data=False), toy_images(7)])
    RanksAgreeHook().before_train(SimpleNamespace(
        cfg=Config(CFG), seed=0, iter=0, rank=0, _randomness_cfg={},
        logger=SimpleNamespace(warning=said.append),
        train_dataloader=SimpleNamespace(dataset=dataset)))
    assert len(said) == 1 and 'no names of samples' in said[0]


@pytest.mark.parametrize('odd', [1, 3])
def test_of_many_processes_the_odd_ones_are_named(monkeypatch, odd):
    monkeypatch.setattr(agreement, 'all_gather_object', lambda item: [
        item if rank != odd else {'the seed': '5'} for rank in range(4)])
    with pytest.raises(InputError, match=f'the seed: rank 0 has 4, rank {odd} has 5'):
        check_agreement({'the seed': 4})


def test_one_process_has_nothing_to_compare(toy_runner):
    toy_runner(kind=OverlayRunner, epochs=1).train()
    check_agreement({'seed': 1})
    check_configs(CFG)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_the_checksum_sees_names_shapes_types_and_values(dtype):
    value = (torch.arange(12) % 2).to(dtype)
    one = weights_checksum({'a': value, 'b': value.view(3, 4).T})
    assert one == weights_checksum({'b': value.view(3, 4).T.clone(), 'a': value.clone()})
    other = value.clone()
    other[7] = 1 - other[7].to(torch.int64)
    for state in ({'a': other, 'b': value.view(3, 4).T}, {'a': value, 'c': value.view(3, 4).T},
                  {'a': value, 'b': value.view(3, 4).T.reshape(2, 6)},
                  {'a': value.double(), 'b': value.view(3, 4).T}):
        assert one != weights_checksum(state)
