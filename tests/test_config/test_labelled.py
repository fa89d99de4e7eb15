"""overlay.labelled: images and classes for a protocol."""

import pytest
from mmengine.config import Config

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError

STEPS = [dict(type='PackInputs')]
LABELLED = dict(num_classes=7, dataset=dict(type='amt_mm.ImageFolder', data_root='here'),
                train=dict(split='train'), test=dict(split='val'))


def protocol(**changes):
    return Config({**dict(
        model=dict(head=dict(type='LinearClsHead')),
        data_preprocessor=dict(type='ClsDataPreprocessor'),
        train_dataloader=dict(batch_size=4, dataset=dict(pipeline=STEPS)),
        val_dataloader=dict(dataset=dict(pipeline=STEPS)),
        test_dataloader=dict(dataset=dict(pipeline=STEPS)),
        overlay=dict(labelled=LABELLED)), **changes})


def test_loaders_get_images_and_keep_their_pipelines():
    cfg = apply_overlay(protocol())
    wanted = dict(type='amt_mm.ImageFolder', data_root='here', pipeline=STEPS)
    assert cfg.train_dataloader == dict(batch_size=4, dataset=dict(split='train', **wanted))
    assert cfg.val_dataloader.dataset == cfg.test_dataloader.dataset == dict(split='val', **wanted)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 7


def test_training_images_of_a_test_loop():
    cfg = protocol(test_cfg=dict(train_dataloader=dict(dataset=dict(pipeline=STEPS))),
                   model=dict())
    cfg.pop('train_dataloader'), cfg.pop('val_dataloader')
    cfg = apply_overlay(cfg)
    assert cfg.test_cfg.train_dataloader.dataset.split == 'train'
    assert 'head' not in cfg.model


def test_settings_of_the_user_win():
    cfg = protocol(model=dict(head=dict(num_classes=3)), test_dataloader=dict(
        dataset=dict(type='Own', data_root='there', pipeline=STEPS)))
    cfg = apply_overlay(cfg)
    assert cfg.model.head.num_classes == 3
    assert (cfg.test_dataloader.dataset.type, cfg.test_dataloader.dataset.data_root) == (
        'Own', 'there')
    assert cfg.test_dataloader.dataset.split == 'val'


def test_children_of_a_concatenation_get_pipeline_and_common_fields():
    parts = dict(type='amt_mm.ConcatDataset', datasets=[dict(data_prefix='a'),
                                                        dict(data_prefix='b')])
    cfg = apply_overlay(protocol(overlay=dict(labelled={**LABELLED, 'test': parts})))
    found = cfg.test_dataloader.dataset
    assert found.type == 'amt_mm.ConcatDataset' and 'pipeline' not in found
    assert [d.data_prefix for d in found.datasets] == ['a', 'b']
    assert all(d.pipeline == STEPS and d.data_root == 'here' for d in found.datasets)


def test_a_preprocessor_without_labels_is_left_alone():
    cfg = apply_overlay(protocol(data_preprocessor=dict(type='SelfSupDataPreprocessor')))
    assert 'num_classes' not in cfg.data_preprocessor


@pytest.mark.parametrize('change, message', [
    (dict(classes=3), 'labelled.classes is unknown'), (dict(test=None), None)])
def test_unknown_and_missing_fields_are_refused(change, message):
    labelled = {**LABELLED, **change}
    if message is None:
        del labelled['test']
        message = 'no `test`'
    with pytest.raises(InputError, match=message):
        apply_overlay(protocol(overlay=dict(labelled=labelled)))


@pytest.mark.parametrize('classes, topk', [(7, (1, 5)), (5, (1, 5)), (2, (1,))])
def test_topk_beyond_the_number_of_classes_is_dropped(classes, topk):
    cfg = apply_overlay(protocol(
        val_evaluator=dict(type='Accuracy', topk=(1, 5)), test_evaluator=[],
        overlay=dict(labelled={**LABELLED, 'num_classes': classes})))
    assert cfg.val_evaluator.topk == topk
    assert cfg.test_evaluator == []


def test_heads_of_mmseg_have_the_classes_of_the_masks():
    model = dict(decode_head=dict(num_classes=None), auxiliary_head=dict(num_classes=9))
    masks = {**LABELLED['dataset'], 'num_classes': 7}
    overlay = dict(labelled={**LABELLED, 'dataset': masks})
    cfg = apply_overlay(protocol(model=model, overlay=overlay))
    assert (cfg.model.decode_head.num_classes, cfg.model.auxiliary_head.num_classes) == (7, 9)
    masks['num_classes'] = None
    with pytest.raises(InputError, match='decode_head needs the number .*dataset.num_classes'):
        apply_overlay(protocol(model=model, overlay=overlay))
