"""Base class of the test loops that measure a frozen encoder."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from mmengine.dataset import default_collate
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped

from .dataset_features import has_cls, whole_image_tokens
from .features import evaluating
from .kept import keep, shown_rows
from .measuring_loop import MeasuringTestLoop


class FrozenTestLoop(MeasuringTestLoop):
    """Encode labelled training and test images with all processes, then measure.

    The model is a host, or a classifier of mmpretrain whose backbone returns all tokens
    (``VisionTransformer`` with ``out_type='raw'``; a head is not used). Features are those after
    the backbone's final norm.

    Args:
        runner: The runner.
        dataloader: The config's ``test_dataloader``.
        evaluator: See the parent.
        train_dataloader: Loader of the training images; defaults of its fields except ``dataset``
            come from ``dataloader``.
        fp16: Encode in mixed precision, as MMEngine's loop does. Defaults to False.

    Raises:
        InputError: No training images, or training and test images that do not fit together; and
            see the parent.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: list,
                 train_dataloader: DataLoader | dict, fp16: bool = False) -> None:
        name = type(self).__name__
        if isinstance(train_dataloader, dict) and 'dataset' not in train_dataloader:
            raise InputError(f'{name} needs the training images: set '
                             'test_cfg.train_dataloader.dataset')
        super().__init__(runner, dataloader, evaluator)
        if isinstance(train_dataloader, dict):
            defaults = dataloader if isinstance(dataloader, dict) else {}
            train_dataloader = runner.build_dataloader({**defaults, **train_dataloader},
                                                       seed=runner.seed)
        self.train_dataloader = train_dataloader
        check_train_and_test(self.train_dataloader.dataset, self.dataloader.dataset, name)
        self.fp16 = fp16

    @abstractmethod
    def encode(self, loader: DataLoader, progress: str) -> Any:
        """Return what is measured of all images.

        Args:
            loader: Loads one part of the images.
            progress: Title of the progress bar.
        """

    @abstractmethod
    def measure(self, train: Any, test: Any) -> dict[str, float]:
        """Return measures by name, the same in all processes.

        Args:
            train: The training images by :meth:`encode`.
            test: The test images by :meth:`encode`.
        """

    def measures(self) -> dict[str, float]:
        """Encode both parts, and return their measures by name."""
        start = time.perf_counter()
        train = self._encode('training', self.train_dataloader)
        test = self._encode('test', self.dataloader)
        encoded = time.perf_counter()
        found = self.measure(train, test)
        if is_main_process():
            self._keep_tokens()
        self.runner.logger.info(
            f'{len(self.train_dataloader.dataset)} training and {len(self.dataloader.dataset)} '
            f'test images: encoded in {encoded - start:.1f} s, measured in '
            f'{time.perf_counter() - encoded:.1f} s')
        return found

    def _keep_tokens(self) -> None:
        """Keep the patch tokens of some test images, for the report."""
        model, dataset = unwrapped(self.runner), self.dataloader.dataset
        rows = shown_rows(dataset)
        images = model.data_preprocessor(default_collate([dataset[row] for row in rows]))['inputs']
        with evaluating(model), autocast(enabled=self.fp16):
            tokens = whole_image_tokens(model, images.to(self.device))[:, int(has_cls(model)):]
        keep(self.runner, 'tokens', rows=rows, tokens=tokens.float().cpu(),
             grid=list(model.backbone.patch_resolution))

    def _encode(self, part: str, loader: DataLoader) -> Any:
        self.runner.logger.info(f'Encoding {len(loader.dataset)} {part} images')
        with autocast(enabled=self.fp16):
            return self.encode(loader, f'{part} images')
