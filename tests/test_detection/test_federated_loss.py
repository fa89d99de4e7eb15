"""The federated loss: formula, class sampling, and use in mmdet's box head."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import amt_mm.registry  # noqa: F401
from amt_mm.detection import FederatedCountsHook, FederatedLoss
from amt_mm.errors import InputError

K = 7
COUNTS = torch.tensor([1., 4, 9, 100, 0, 25, 16])


def loss(**options):
    made = FederatedLoss(K, **options)
    made.image_counts.copy_(COUNTS)
    return made


def slowly(logits, labels, weights, classes, divisor):
    total = 0.
    for row, label, weight in zip(logits.double(), labels, weights, strict=True):
        for c in classes:
            p = 1 / (1 + np.exp(-row[c].item()))
            total += -weight.item() * np.log(p if c == label else 1 - p)
    return total / divisor


def test_formula():
    torch.manual_seed(0)
    logits, labels = torch.randn(9, K) * 3, torch.tensor([0, 7, 3, 3, 7, 7, 4, 7, 0])
    weights = torch.rand(9)
    made = loss(num_sampled=5, loss_weight=.5)
    torch.manual_seed(3)
    classes = made.sample_classes(labels).tolist()
    assert len(classes) == len(set(classes)) == 5 and {0, 3, 4} <= set(classes)
    torch.manual_seed(3)
    value = made(logits, labels, weights, avg_factor=6.).item()
    assert value == pytest.approx(.5 * slowly(logits, labels, weights, classes, 6), rel=1e-5)
    torch.manual_seed(3)
    plain = made(logits, labels).item()
    assert plain == pytest.approx(.5 * slowly(logits, labels, torch.ones(9), classes, 9), rel=1e-5)


def test_classes_outside_the_sample_get_no_gradient():
    logits = torch.randn(4, K, requires_grad=True)
    labels = torch.tensor([2, 7, 7, 2])
    made = loss(num_sampled=3)
    torch.manual_seed(5)
    drawn = set(made.sample_classes(labels).tolist())
    torch.manual_seed(5)
    made(logits, labels).backward()
    learning = set(logits.grad.abs().sum(0).nonzero().flatten().tolist())
    assert learning == drawn and len(drawn) == 3


def test_sampling_follows_the_square_root_of_image_counts():
    """One class besides the present ones, 4000 samples: chi-square with 4 degrees of freedom."""
    made = loss(num_sampled=2)
    torch.manual_seed(0)
    seen = torch.zeros(K)
    for _ in range(4000):
        present, other = made.sample_classes(torch.tensor([3, 7])).tolist()
        assert present == 3
        seen[other] += 1
    wanted = torch.tensor([1., 2, 3, 0, 0, 5, 4]) / 15 * 4000
    assert seen[3] == seen[4] == 0
    kept = wanted > 0
    assert ((seen - wanted)[kept] ** 2 / wanted[kept]).sum() < 18.5  # p = .001


@pytest.mark.parametrize(('labels', 'sampled', 'count'), [
    ([0, 1, 2, 3], 2, 4),      # more present than requested
    ([7, 7], 3, 3),            # background only
    ([7], 50, 6),              # class 4 has no image: never sampled
    ([4], 50, 7),              # unless it is present
])
def test_number_of_classes(labels, sampled, count):
    assert len(loss(num_sampled=sampled).sample_classes(torch.tensor(labels)).unique()) == count


def test_unset_counts():
    with pytest.raises(InputError, match='FederatedCountsHook'):
        FederatedLoss(K)(torch.zeros(2, K), torch.tensor([1, 7]))


def test_scores_and_accuracy():
    made = loss()
    scores = made.get_activation(torch.tensor([[0.] * K, [100.] * K]))
    assert scores.tolist() == [[.5] * K + [0.], [1.] * K + [0.]]
    logits = torch.eye(K)[[2, 3, 4]]
    assert made.get_accuracy(logits, torch.tensor([2, 7, 5]))['acc_classes'] == 50
    assert made.get_accuracy(logits, torch.tensor([7, 7, 7]))['acc_classes'] == 0


def runner(model, counts):
    dataset = SimpleNamespace(metainfo=dict(image_counts=counts))
    return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))


def test_hook():
    model = torch.nn.ModuleDict(dict(head=FederatedLoss(3)))
    FederatedCountsHook().before_train(runner(model, [5, 0, 2]))
    assert model['head'].image_counts.tolist() == [5, 0, 2]
    assert 'head.image_counts' in model.state_dict()
    with pytest.raises(InputError, match='2 classes, but FederatedLoss has 3'):
        FederatedCountsHook().before_train(runner(model, [5, 0]))
    with pytest.raises(InputError, match='no amt_mm.FederatedLoss'):
        FederatedCountsHook().before_train(runner(torch.nn.Linear(1, 1), [5]))


def test_in_mmdets_box_head():
    from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
    from mmengine.registry import DefaultScope, init_default_scope
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    head = Shared2FCBBoxHead(
        in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=K,
        loss_cls=dict(type='amt_mm.FederatedLoss', num_classes=K, num_sampled=3),
        init_cfg=[dict(type='Normal', std=.01, bias=-4.595, override=dict(name='fc_cls')),
                  dict(type='Normal', std=.001, override=dict(name='fc_reg')),
                  dict(type='Xavier', distribution='uniform', override=dict(name='shared_fcs'))])
    init_default_scope(before.scope_name)
    head.init_weights()
    head.loss_cls.image_counts.copy_(COUNTS)
    logits, deltas = head(torch.randn(6, 4, 2, 2))
    assert logits.shape == (6, K)
    assert logits.sigmoid().mean().item() == pytest.approx(.01, abs=.002)
    losses = head.loss(logits, deltas, torch.zeros(6, 5), torch.tensor([1, 7, 7, 2, 7, 7]),
                       torch.ones(6), torch.zeros(6, 4), torch.ones(6, 4))
    # Three classes of six boxes at a score of .01, two correct ones missed completely.
    assert losses['loss_cls'].item() == pytest.approx(
        (2 * -np.log(.01) + 16 * -np.log(.99)) / 6, rel=.05)
    assert 'acc_classes' in losses
