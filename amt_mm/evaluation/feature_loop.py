"""What the test loops that measure frozen features share."""

from __future__ import annotations

import time
from abc import abstractmethod

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import LabelledFeatures, labelled_features


class FeatureTestLoop(BaseLoop):
    """Encode a labelled training set and the test set, then measure.

    The model is a classifier of mmpretrain whose backbone gives all tokens
    (``VisionTransformer`` with ``out_type='raw'``; the head, if any, is not used)
    or a host. Features are taken after the backbone's final norm. All processes
    share the work.

    Args:
        runner: The runner.
        dataloader: Loader of the test images, the config's ``test_dataloader``.
        evaluator: The config's ``test_evaluator``. MMEngine wants one beside every
            test loop; this one measures by itself, so it must be an empty list.
        train_dataloader: Loader of the training images. What it leaves out, beside
            ``dataset``, is as in ``dataloader``.
        pooling: ``'cls'``, the [CLS] token, or ``'mean'``, the mean of the patch
            tokens. Defaults to ``'cls'``, as in DINO and AttMask.
        fp16: Encode in mixed precision, as in MMEngine's loop. Defaults to False.

    Raises:
        InputError: A metric in ``evaluator`` or an unknown ``pooling``; when run,
            an image without a label or a backbone that gives no tokens.
    """

    prefix: str

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: list,
                 train_dataloader: DataLoader | dict, pooling: str = 'cls', fp16: bool = False
                 ) -> None:
        name = type(self).__name__
        if evaluator != []:
            raise InputError(f'{name} measures by itself: set test_evaluator=[]')
        if pooling not in ('cls', 'mean'):
            raise InputError(f"test_cfg.pooling={pooling!r} is unknown: use 'cls' or 'mean'")
        if isinstance(train_dataloader, dict):
            if 'dataset' not in train_dataloader:
                raise InputError(f'{name} needs the training images: set '
                                 'test_cfg.train_dataloader.dataset')
            if isinstance(dataloader, dict):
                train_dataloader = {**dataloader, **train_dataloader}
        super().__init__(runner, dataloader)
        self.train_dataloader = self._built(train_dataloader)
        check_train_and_test(self.train_dataloader.dataset, self.dataloader.dataset, name)
        self.pooling = pooling
        self.fp16 = fp16

    def _built(self, loader: DataLoader | dict) -> DataLoader:
        if not isinstance(loader, dict):
            return loader
        return self.runner.build_dataloader(loader, seed=self.runner.seed)

    @abstractmethod
    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Measures by name, equal in all processes."""

    def run(self) -> dict[str, float]:
        """Measure.

        Returns:
            The measures, each under ``<prefix>/``.
        """
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

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.runner.model.parameters()).device

    def _encode(self, part: str, loader: DataLoader) -> LabelledFeatures:
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        self.runner.logger.info(f'Encoding {len(loader.dataset)} {part} images')
        with autocast(enabled=self.fp16):
            return labelled_features(model, loader, [self.pooling], f'{part} images')
