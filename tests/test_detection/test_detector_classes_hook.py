"""Heads, training and validation set must agree on the classes."""

from types import SimpleNamespace

import pytest
from torch import nn

import amt_mm.registry  # noqa: F401
from amt_mm.detection import detector_classes_hook
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
    # A proposal head has one class, whatever the data set has.
    model.rpn_head = Head(1)
    model.roi_head = nn.Module()
    model.roi_head.bbox_head, model.roi_head.mask_head = Head(box), Head(mask)
    return SimpleNamespace(model=model, val_loop='val_dataloader' in loaders or None, **loaders)


def checkpoint(*classes):
    return dict(meta=dict(dataset_meta=dict(classes=classes)))


def test_accepts_equal_classes():
    hook = DetectorClassesHook()
    made = runner(train_dataloader=loader(*'abc'), val_dataloader=loader(*'abc'),
                  test_dataloader=loader(*'abc'))
    hook.before_train(made)
    hook.before_val(made)
    hook.before_test(made)


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
@pytest.mark.parametrize(('sizes', 'wrong'), [
    (dict(box=80), r'bbox_head has 80'), (dict(mask=2), r'mask_head has 2')])
def test_refuses_another_count(part, sizes, wrong):
    made = runner(**sizes, **{f'{part}_dataloader': loader(*'abc')})
    with pytest.raises(InputError, match=rf'^{part}_dataloader.dataset has 3 classes, '
                       rf'but model.roi_head.{wrong}: set model.roi_head.bbox_head.num_classes=3 '
                       'model.roi_head.mask_head.num_classes=3$'):
        getattr(DetectorClassesHook(), f'before_{part}')(made)


ORDER = '(class 1 is b in {}, but c in {}_dataloader.dataset: both annotation files must list)'


def test_refuses_another_order_before_training():
    made = runner(train_dataloader=loader(*'abc'), val_dataloader=loader(*'acb'))
    with pytest.raises(InputError, match=ORDER.format('train_dataloader.dataset', 'val')):
        DetectorClassesHook().before_train(made)


def test_refuses_another_count_in_validation_before_training():
    made = runner(train_dataloader=loader(*'abc'), val_dataloader=loader(*'ab'))
    with pytest.raises(InputError, match='^val_dataloader.dataset has 2 classes'):
        DetectorClassesHook().before_train(made)


def test_training_without_validation():
    DetectorClassesHook().before_train(runner(train_dataloader=loader(*'abc')))


@pytest.mark.parametrize('part', ['val', 'test'])
def test_refuses_another_order_than_the_checkpoint(part):
    hook = DetectorClassesHook()
    made = runner(**{f'{part}_dataloader': loader(*'acb')})
    hook.after_load_checkpoint(made, checkpoint(*'acb'))
    getattr(hook, f'before_{part}')(made)
    hook.after_load_checkpoint(made, checkpoint(*'abc'))
    with pytest.raises(InputError, match=ORDER.format('the checkpoint', part)):
        getattr(hook, f'before_{part}')(made)
    hook.after_load_checkpoint(made, checkpoint(*'ac'))
    with pytest.raises(InputError, match='class 2 is missing in the checkpoint, but b in'):
        getattr(hook, f'before_{part}')(made)


def test_a_test_after_training_is_compared_with_the_training_set():
    hook = DetectorClassesHook()
    made = runner(train_dataloader=loader(*'abc'), test_dataloader=loader(*'acb'))
    hook.after_load_checkpoint(made, checkpoint(*'acb'))
    hook.before_train(made)
    with pytest.raises(InputError, match=ORDER.format('train_dataloader.dataset', 'test')):
        hook.before_test(made)


@pytest.mark.parametrize('loaded', [{}, dict(meta={}), dict(meta=dict(dataset_meta=None))])
def test_warns_about_a_checkpoint_without_classes(loaded, monkeypatch):
    lines = []
    monkeypatch.setattr(detector_classes_hook, 'print_log', lambda line, *_: lines.append(line))
    hook, made = DetectorClassesHook(), runner(test_dataloader=loader(*'abc'))
    hook.after_load_checkpoint(made, loaded)
    hook.before_test(made)
    assert len(lines) == 1 and 'no checkpoint lists the training classes' in lines[0]
