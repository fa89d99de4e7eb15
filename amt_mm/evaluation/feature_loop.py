"""Base class of the test loops that measure frozen features."""

from __future__ import annotations

import time
from abc import abstractmethod

import torch
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped

from .dataset_features import LabelledFeatures, has_cls, labelled_features


class FeatureTestLoop(BaseLoop):
    """Encode labelled training and test images with all processes, then measure.

    The model is a host, or a classifier of mmpretrain whose backbone returns all tokens
    (``VisionTransformer`` with ``out_type='raw'``; a head is not used). Features are those after
    the backbone's final norm.

    Args:
        runner: The runner.
        dataloader: The config's ``test_dataloader``.
        evaluator: The config's ``test_evaluator``. MMEngine requires one with every test loop; it
            must be an empty list, because this loop measures by itself.
        train_dataloader: Loader of the training images; defaults of its fields except ``dataset``
            come from ``dataloader``.
        pooling: ``'cls'``, the [CLS] token, or ``'mean'``, the mean of the patch tokens. Defaults
            to None: ``'cls'``, as in DINO and AttMask, and ``'mean'`` for an encoder without
            [CLS], which the log says.
        fp16: Encode in mixed precision, as MMEngine's loop does. Defaults to False.

    Raises:
        InputError: A metric in ``evaluator``, an unknown ``pooling``, an image without a label or
            a backbone that does not return tokens.
    """

    prefix: str

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: list,
                 train_dataloader: DataLoader | dict, pooling: str | None = None,
                 fp16: bool = False) -> None:
        name = type(self).__name__
        if evaluator != []:
            raise InputError(f'{name} measures by itself: set test_evaluator=[]')
        if pooling not in (None, 'cls', 'mean'):
            raise InputError(f"test_cfg.pooling={pooling!r} is unknown: use 'cls' or 'mean'")
        if isinstance(train_dataloader, dict) and 'dataset' not in train_dataloader:
            raise InputError(f'{name} needs the training images: set '
                             'test_cfg.train_dataloader.dataset')
        super().__init__(runner, dataloader)
        if isinstance(train_dataloader, dict):
            defaults = dataloader if isinstance(dataloader, dict) else {}
            train_dataloader = runner.build_dataloader({**defaults, **train_dataloader},
                                                       seed=runner.seed)
        self.train_dataloader = train_dataloader
        check_train_and_test(self.train_dataloader.dataset, self.dataloader.dataset, name)
        self.pooling = pooling or self._default_pooling()
        self.fp16 = fp16

    @abstractmethod
    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return measures by name, the same in all processes."""

    def run(self) -> dict[str, float]:
        """Return the measures as ``<prefix>/<name>``."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        start = time.perf_counter()
        train = self._encode('training', self.train_dataloader)
        test = self._encode('test', self.dataloader)
        encoded = time.perf_counter()
        metrics = {f'{self.prefix}/{name}': value
                   for name, value in self.measure(train, test).items()}
        self.runner.logger.info(
            f'{len(train.labels)} training and {len(test.labels)} test images: encoded in '
            f'{encoded - start:.1f} s, measured in {time.perf_counter() - encoded:.1f} s')
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _default_pooling(self) -> str:
        if has_cls(unwrapped(self.runner)):
            return 'cls'
        self.runner.logger.info('The encoder has no [CLS] token: features are the mean of its '
                                'patch tokens')
        return 'mean'

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.runner.model.parameters()).device

    def _encode(self, part: str, loader: DataLoader) -> LabelledFeatures:
        self.runner.logger.info(f'Encoding {len(loader.dataset)} {part} images')
        with autocast(enabled=self.fp16):
            return labelled_features(unwrapped(self.runner), loader, [self.pooling],
                                     f'{part} images')
