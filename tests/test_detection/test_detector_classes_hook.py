"""Heads, training and validation must agree on the classes."""

from types import SimpleNamespace

import pytest
from torch import nn

import amt_mm.registry  # noqa: F401
from amt_mm.detection.detector_classes_hook import DetectorClassesHook
from amt_mm.errors import InputError


class Head(nn.Module):

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def loader(*classes):
    return SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes)))


def runner(box=3, mask=3, **loaders):
    model = nn.Module()
    # A proposal head tells one class from background, whatever the data set has.
    model.rpn_head = Head(1)
    model.roi_head = nn.Module()
    model.roi_head.bbox_head, model.roi_head.mask_head = Head(box), Head(mask)
    return SimpleNamespace(model=model, **loaders)


def test_agreement():
    hook = DetectorClassesHook()
    made = runner(train_dataloader=loader(*'abc'), val_dataloader=loader(*'abc'),
                  test_dataloader=loader(*'abc'))
    hook.before_train(made)
    hook.before_val(made)
    hook.before_test(made)


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
@pytest.mark.parametrize(('sizes', 'wrong'), [
    (dict(box=80), r'bbox_head is made for 80'), (dict(mask=2), r'mask_head is made for 2')])
def test_another_count(part, sizes, wrong):
    made = runner(**sizes, **{f'{part}_dataloader': loader(*'abc')})
    with pytest.raises(InputError, match=rf'^{part}_dataloader.dataset has 3 classes, '
                       rf'model.roi_head.{wrong}: set model.roi_head.bbox_head.num_classes=3 '
                       'model.roi_head.mask_head.num_classes=3$'):
        getattr(DetectorClassesHook(), f'before_{part}')(made)


def test_another_order():
    made = runner(train_dataloader=loader(*'abc'), val_dataloader=loader(*'acb'))
    with pytest.raises(InputError, match='class 1 is b in train_dataloader.dataset, but c in val'):
        DetectorClassesHook().before_val(made)
