"""Put a labelled data set into a protocol: training and test images, number of classes."""

from __future__ import annotations

import copy

from mmengine.config import Config, ConfigDict

from amt_mm.errors import InputError


def apply_labelled(cfg: Config, labelled: ConfigDict) -> None:
    """Give the loaders of a protocol their images, and head and preprocessor their classes.

    A protocol (``configs/_base_/protocols``) has pipelines, a data set
    (``configs/_base_/datasets/labelled``) has images; what the protocol or the user
    says of a loader's data set wins.

    Args:
        cfg: The config, changed in place.
        labelled: ``dataset``, fields of both parts; ``train`` and ``test``, fields of
            one, such as its split; ``num_classes``. A part that has ``datasets``,
            such as a ConcatDataset, hands ``dataset`` and the pipeline on to them.

    Raises:
        InputError: Unknown fields, or no part for a loader of the config.
    """
    unknown = set(labelled) - {'dataset', 'train', 'test', 'num_classes'}
    if unknown:
        raise InputError(f'overlay.labelled has no field {min(unknown)}: give dataset, train, test '
                         'and num_classes')
    loops = cfg.get('test_cfg') or {}
    loaders = [(cfg.get('train_dataloader'), 'train'), (loops.get('train_dataloader'), 'train'),
               (cfg.get('val_dataloader'), 'test'), (cfg.get('test_dataloader'), 'test')]
    for loader, part in loaders:
        if loader is None:
            continue
        if part not in labelled:
            raise InputError(f'overlay.labelled has no `{part}`: it says which images these are')
        loader['dataset'] = _complete(loader.get('dataset', {}), labelled[part],
                                      labelled.get('dataset', {}))
    if 'num_classes' in labelled:
        _limit_topk(cfg, labelled.num_classes)
        for owner in (cfg.model.get('head'), cfg.get('data_preprocessor')):
            # A preprocessor that knows labels turns them into one-hot vectors for mixup.
            if owner is not None and (owner is not cfg.get('data_preprocessor')
                                      or 'ClsDataPreprocessor' in owner.get('type', '')):
                owner.setdefault('num_classes', labelled.num_classes)


def _limit_topk(cfg: Config, num_classes: int) -> None:
    """Leave out accuracies among more answers than there are classes: mmpretrain refuses them."""
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict) and 'topk' in evaluator:
            evaluator['topk'] = tuple(k for k in evaluator['topk'] if k <= num_classes)


def _complete(own: dict, part: dict, common: dict) -> ConfigDict:
    if 'datasets' in part:
        children = [_complete(own, child, common) for child in part['datasets']]
        return ConfigDict({**part, 'datasets': children})
    return ConfigDict(copy.deepcopy({**common, **part, **own}))
