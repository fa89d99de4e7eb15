"""mmpretrain's ImageNet becomes ours, and needs no labels to pre-train."""

import pytest
from mmengine.config import Config

from amt_mm.config.own_imagenet import use_own_imagenet
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError


def replaced(model='MAE', **loaders):
    cfg = Config(dict(model=dict(type=model), **loaders))
    use_own_imagenet(cfg)
    return cfg


def images(kind='ImageNet', **more):
    return dict(type=kind, data_root='data/imagenet', **more)


@pytest.mark.parametrize('model', ['MAE', 'amt_mm.AMTMAE', 'mmpretrain.MaskFeat', 'amt_mm.IBOT'])
@pytest.mark.parametrize('kind', ['ImageNet', 'mmpretrain.ImageNet', 'amt_mm.ImageNet'])
def test_pretraining_takes_any_classes(model, kind):
    inner = images(kind, split='train')
    cfg = replaced(model, val_dataloader=dict(dataset=images(kind)), train_dataloader=dict(
        dataset=dict(type='amt_mm.StagedDataset', dataset=dict(
            type='ConcatDataset', datasets=[inner, {**inner, 'with_label': True}]))))
    first, second = cfg.train_dataloader.dataset.dataset.datasets
    assert first == {**inner, 'type': 'amt_mm.ImageNet', 'with_label': None}
    assert second.with_label is True
    # Validation is of labels.
    assert cfg.val_dataloader.dataset == images('amt_mm.ImageNet')


def test_a_classifier_needs_its_classes():
    cfg = replaced('ImageClassifier', train_dataloader=dict(dataset=images()))
    assert cfg.train_dataloader.dataset == images('amt_mm.ImageNet')


@pytest.mark.parametrize('dataset', [
    images('CIFAR10'), dict(type='ImageNet', data_root='s3://bucket/imagenet'),
    images('amt_mm.ImageFolder'), dict(type='ImageNet21k', data_root='x')])
def test_others_stay(dataset):
    cfg = replaced(train_dataloader=dict(dataset=dict(dataset)), test_dataloader=None)
    assert cfg.train_dataloader.dataset == dataset


def test_the_runner_puts_it_there(toy_mae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config(dict(
        model=toy_mae(build=False), work_dir='run', train_cfg=dict(by_epoch=True, max_epochs=1),
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=images(split='train'),
                              sampler=dict(type='DefaultSampler', shuffle=True)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)), default_scope='mmpretrain'))
    with pytest.raises(InputError, match='data/imagenet/train: .* amt download imagenet'):
        OverlayRunner.from_cfg(cfg).train()
