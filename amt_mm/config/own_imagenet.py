"""Put our ImageNet in place of mmpretrain's: it says in one line what is missing."""

from __future__ import annotations

from mmengine.config import Config
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS

from amt_mm.config_parts import LOADERS, datasets_in


def use_own_imagenet(cfg: Config) -> None:
    """Replace mmpretrain's ``ImageNet`` by ``amt_mm.ImageNet``: same samples, errors of one line.

    For pre-training, which uses no labels, the training images may have any number of classes, or
    none. Images that are not on a local path stay mmpretrain's.

    Args:
        cfg: A config whose overlay is applied; changed in place.
    """
    for loader in LOADERS:
        for dataset in datasets_in((cfg.get(loader) or {}).get('dataset')):
            kind = str(dataset.get('type')).removeprefix('mmpretrain.')
            if kind == 'ImageNet' and '://' not in str(dataset.get('data_root')):
                dataset['type'] = kind = 'amt_mm.ImageNet'
            if kind == 'amt_mm.ImageNet' and loader == 'train_dataloader' and _pretrains(cfg):
                dataset.setdefault('with_label', None)


def _pretrains(cfg: Config) -> bool:
    kind = (cfg.get('model') or {}).get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(cls, type) and issubclass(cls, BaseSelfSupervisor)
