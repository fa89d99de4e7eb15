"""Features of labelled data sets: order, labels, and that processes may share the work."""

import sys
from pathlib import Path

import pytest
import torch
from labelled_toys import VIT, LabelledImages
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS
from mmpretrain.registry import MODELS
from segmentation_toys import write_masked
from torchrun import in_two_real_processes

from amt_mm.errors import InputError
from amt_mm.evaluation import dataset_features
from amt_mm.evaluation.dataset_features import (
    dataset_labels,
    labelled_features,
    loader_in_order,
)

sys.path.insert(0, str(Path(__file__).parent))
from two_processes_features import measure  # noqa: E402


def test_features_and_labels_in_the_order_of_the_data_set(toy_mae):
    model = toy_mae()
    dataset = ConcatDataset([LabelledImages([4, 0, 2]), LabelledImages([1, 1], seed=3)])
    found = labelled_features(model, loader_in_order(dataset, 2))
    assert found.labels.tolist() == dataset_labels(dataset).tolist() == [4, 0, 2, 1, 1]
    for i in range(5):
        inputs = model.data_preprocessor.normalize(dataset[i]['inputs'][None])
        with torch.no_grad():
            tokens = model.eval().backbone(inputs)[-1][0]
        torch.testing.assert_close(found.features['cls'][i], tokens[0])
        torch.testing.assert_close(found.features['mean'][i], tokens[1:].mean(0))


def test_the_loader_draws_from_no_random_stream(toy_mae):
    model = toy_mae()
    state = torch.get_rng_state()
    labelled_features(model, loader_in_order(LabelledImages([0, 1]), 2))
    assert torch.equal(state, torch.get_rng_state())


def test_a_data_set_without_labels_has_none(toy_images):
    assert dataset_labels(toy_images(3)) is None


def test_a_neck_is_not_applied():
    """A linear-probing model, whose neck normalises over the batch."""
    plain = MODELS.build(VIT)
    necked = MODELS.build({**VIT, 'neck': dict(type='ClsBatchNormNeck', input_features=24)})
    necked.load_state_dict(plain.state_dict(), strict=False)
    found = [labelled_features(model, loader_in_order(LabelledImages([0, 1, 2]), 2))
             for model in (plain, necked)]
    assert torch.equal(found[0].features['cls'], found[1].features['cls'])


def test_a_loader_that_leaves_images_out_is_refused(toy_mae):
    loader = torch.utils.data.DataLoader(LabelledImages([0, 1, 2]), batch_size=2)
    with pytest.raises(InputError, match='DefaultSampler'):
        labelled_features(toy_mae(), loader)


@pytest.mark.parametrize('rows', [3, 4096])
def test_shares_are_gathered_in_chunks(monkeypatch, rows):
    """Three processes of 4, 4 and 3 rows; the exchange is replaced by what each would send."""
    monkeypatch.setattr(dataset_features, '_ROWS', rows)
    orders = [torch.tensor([10, 0, 3, 6]), torch.tensor([1, 4, 7, 9]), torch.tensor([2, 5, 8])]
    values = torch.arange(11)[:, None] * 10.0 + torch.arange(2)
    sent = [[] for _ in orders]

    def run(rank, gather):
        monkeypatch.setattr(dataset_features, 'all_gather', gather)
        return dataset_features.gather_in_order(orders[rank], values[orders[rank]], 11)

    for rank in range(3):
        def note(tensor, rank=rank):
            sent[rank].append(tensor)
            # Number of rows: the longest.
            return [torch.tensor(4)] if tensor.ndim == 0 else [tensor]
        run(rank, note)
    for rank in range(3):
        replay = iter(zip(*sent, strict=True))
        assert torch.equal(run(rank, lambda tensor, replay=replay: list(next(replay))), values)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    DATASETS.register_module(name='ToyLabelled', module=LabelledImages, force=True)
    script = Path(__file__).parent / 'two_processes_features.py'
    for part, count in (('train', 7), ('val', 5)):
        write_masked(tmp_path / 'masked' / part, count, count)
    in_two_real_processes(script, tmp_path)
    alone = measure(tmp_path, 'none')
    for rank in (0, 1):
        shared = torch.load(tmp_path / f'rank{rank}.pt')
        assert shared.pop('labels').tolist() == alone['labels'].tolist()
        torch.testing.assert_close(shared.pop('features'), alone['features'])
        assert shared == pytest.approx({name: alone[name] for name in shared})
        assert {'knn/top1_k6', 'lowshot/top1_3shot', 'attentive/aim_top1', 'knn/cls_top1_k3',
                'segmentation/miou'} <= set(shared)
