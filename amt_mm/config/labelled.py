"""Insert a labelled data set into an evaluation protocol."""

from __future__ import annotations

import copy

from mmengine.config import Config, ConfigDict

from amt_mm.errors import InputError


def apply_labelled(cfg: Config, labelled: ConfigDict) -> None:
    """Give the loaders of a protocol their images, and head and preprocessor their classes.

    A protocol (``configs/_base_/protocols``) has pipelines, a data set
    (``configs/_base_/datasets/labelled``) has images. Fields that protocol or user set for a
    loader's data set win; ``few_labels`` among them keeps a part of its images
    (:func:`~amt_mm.datasets.few_labels`).

    Args:
        cfg: The config, changed in place.
        labelled: ``dataset``, fields of both parts; ``train`` and ``test``, fields of one, such
            as its split; ``num_classes``. A part with ``datasets``, such as a ConcatDataset,
            passes ``dataset`` and the pipeline on to them. Heads of mmseg take their number of
            classes from ``dataset``.

    Raises:
        InputError: Unknown fields, no part for a loader of the config, or an unknown number of
            classes for a head of mmseg.
    """
    unknown = set(labelled) - {'dataset', 'train', 'test', 'num_classes'}
    if unknown:
        raise InputError(f'overlay.labelled.{min(unknown)} is unknown: use dataset, train, test '
                         'and num_classes')
    loops = cfg.get('test_cfg') or {}
    loaders = [(cfg.get('train_dataloader'), 'train'), (loops.get('train_dataloader'), 'train'),
               (cfg.get('val_dataloader'), 'test'), (cfg.get('test_dataloader'), 'test')]
    for loader, part in loaders:
        if loader is None:
            continue
        if part not in labelled:
            raise InputError(f'overlay.labelled has no `{part}`, the images of this part')
        own = loader.get('dataset', {})
        few = own.pop('few_labels', None)
        loader['dataset'] = _complete(own, labelled[part], labelled.get('dataset', {}))
        if few is not None:
            loader['dataset'] = ConfigDict(type='amt_mm.few_labels', dataset=loader['dataset'],
                                           **few)
    model = cfg.get('model') or {}
    for name in ('decode_head', 'auxiliary_head'):
        if name in model and model[name].get('num_classes') is None:
            classes = labelled.get('dataset', {}).get('num_classes')
            if classes is None:
                raise InputError(f'model.{name} needs the number of classes of the masks: set '
                                 'overlay.labelled.dataset.num_classes')
            model[name].num_classes = classes
    if 'num_classes' in labelled:
        _limit_topk(cfg, labelled.num_classes)
        owners = [cfg.model.get('head')]
        if 'ClsDataPreprocessor' in (cfg.get('data_preprocessor') or {}).get('type', ''):
            # It makes one-hot labels for mixup.
            owners.append(cfg.data_preprocessor)
        for owner in owners:
            if owner is not None:
                owner.setdefault('num_classes', labelled.num_classes)


def _limit_topk(cfg: Config, num_classes: int) -> None:
    """Drop top-k accuracies with k above the number of classes, which mmpretrain refuses."""
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict) and 'topk' in evaluator:
            evaluator['topk'] = tuple(k for k in evaluator['topk'] if k <= num_classes)


def _complete(own: dict, part: dict, common: dict) -> ConfigDict:
    if 'datasets' in part:
        children = [_complete(own, child, common) for child in part['datasets']]
        return ConfigDict({**part, 'datasets': children})
    return ConfigDict(copy.deepcopy({**common, **part, **own}))
