"""ClassCountHook: head, training and validation images agree on the classes."""

from types import SimpleNamespace

import pytest
from torch import nn

from amt_mm.errors import InputError
from amt_mm.hooks import ClassCountHook


def runner(classes, head_classes):
    model = nn.Module()
    if head_classes is not None:
        model.head = nn.Module()
        model.head.num_classes = head_classes
    dataset = SimpleNamespace(metainfo={} if classes is None else {'classes': list('abcdefgh')[
        :classes]})
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(model=model, train_dataloader=loader, val_dataloader=loader,
                           test_dataloader=loader, val_loop=None)


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_another_number_of_classes_is_refused(part):
    message = f'{part}_dataloader.dataset has 3 classes, the head 10: .*num_classes=3'
    with pytest.raises(InputError, match=message):
        getattr(ClassCountHook(), f'before_{part}')(runner(3, 10))


@pytest.mark.parametrize('classes, head', [(3, 3), (None, 10), (3, None)])
def test_equal_or_unknown_classes_pass(classes, head):
    for part in ('train', 'val', 'test'):
        getattr(ClassCountHook(), f'before_{part}')(runner(classes, head))


def test_one_class_is_refused():
    with pytest.raises(InputError, match='only one class, a: is its folder one level too high'):
        ClassCountHook().before_test(runner(1, 1))


def test_validation_images_of_other_classes_are_refused_before_training():
    both = runner(3, 3)
    dataset = SimpleNamespace(metainfo={'classes': list('abx')})
    both.val_dataloader = SimpleNamespace(dataset=dataset)
    ClassCountHook().before_train(both)  # nothing is validated
    both.val_loop = object()
    with pytest.raises(InputError, match='val_dataloader: .*c only in the training set; x '):
        ClassCountHook().before_train(both)
