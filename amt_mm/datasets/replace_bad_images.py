"""Replace samples whose image cannot be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, get_worker_info

from amt_mm.errors import InputError

from .bad_images import BadImages
from .seeded import SeededSamples
from .unreadable import is_unreadable_image
from .worker_watch import WorkerWatch
from .wrapper import DatasetWrapper

# Attempts to draw another sample; with 1 % unreadable images 20 in a row never fail.
_TRIES = 20


class ReplaceBadImages(DatasetWrapper):
    """A training set that replaces samples whose image cannot be read.

    The replacement is a function of the key alone (its seed under
    :class:`amt_mm.datasets.seeded.SeededSamples`, else the index), and is transformed as the key
    says, so it does not matter who found the image unreadable, and when: resumed and
    uninterrupted runs are equal. It keeps its own label and ``sample_idx``, so labels and
    saliency maps belong to the image shown. Errors of transforms other than loading are raised.

    Workers also record what they are reading, see :class:`WorkerWatch`.

    Args:
        dataset: The data set, or its config.
        folder: Of the list of unreadable images, see :class:`BadImages`.
        max_bad: Fraction of unreadable images above which the run stops.
        rank: Of this process.
        workers: Number of loader workers. Defaults to 0.

    Raises:
        InputError: When reading, too many images are unreadable.
    """

    def __init__(self, dataset: Dataset | dict, folder: str | os.PathLike, max_bad: float = 0.01,
                 rank: int = 0, workers: int = 0) -> None:
        super().__init__(dataset)
        own = self.__dict__
        own['bad'] = BadImages(folder, self.name_of, self._images(), max_bad, rank)
        own['watch'] = WorkerWatch(workers, self.name_of)
        seen = self.dataset.dataset if isinstance(self.dataset, SeededSamples) else self.dataset
        # Whether samples of a batch depend on each other.
        own['_at_once'] = hasattr(seen, '__getitems__')

    def __getitem__(self, key: int) -> Any:
        """Return one sample by its index or key."""
        while True:
            chosen = self._readable_key(key)
            try:
                with self.watch.reading(chosen):
                    return self.dataset[chosen]
            except Exception as error:
                if not is_unreadable_image(error):
                    raise
                self.bad.add(int(chosen), str(error))

    def __getitems__(self, keys: Sequence[int]) -> list:
        """Return the samples of a batch, in order."""
        if get_worker_info() and not self._at_once or not hasattr(self.dataset, '__getitems__'):
            # Same samples, and more precise about what a worker that dies was reading.
            return [self[key] for key in keys]
        while True:
            chosen = [self._readable_key(key) for key in keys]
            try:
                with self.watch.reading(*chosen):
                    return self.dataset.__getitems__(chosen)
            except Exception as error:
                if not is_unreadable_image(error):
                    raise
                # The error does not say which ones are unreadable.
                if sum(self._is_bad(key) for key in chosen) == 0:
                    raise

    def name_of(self, index: int) -> str | None:
        """Return the path or another name of a sample, None if there is no such sample."""
        return name_of(self.dataset, index)

    def _is_bad(self, key: int) -> bool:
        """Read a sample alone, and record it if it is unreadable."""
        try:
            with self.watch.reading(key):
                self.dataset[key]
        except Exception as error:
            if not is_unreadable_image(error):
                raise
            self.bad.add(int(key), str(error))
            return True
        return False

    def _readable_key(self, key: int) -> int:
        """Return the key, or one with the same seed whose image is not known to be unreadable."""
        if key not in self.bad:
            return key
        seed = getattr(key, 'seed', int(key))
        for index in np.random.default_rng([seed, int(key)]).integers(len(self), size=_TRIES):
            if index not in self.bad:
                return type(key)(int(index), seed) if hasattr(key, 'seed') else int(index)
        self.bad.check()
        raise InputError(f'{self.name_of(int(key))}: unreadable image, as are {_TRIES} '
                         f'others drawn in its place; see {self.bad.path}')

    def _images(self) -> int:
        """Number of images, without repetitions by wrappers."""
        dataset = self.dataset
        while hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        return len(dataset)


def name_of(dataset: Dataset, index: int) -> str | None:
    """Return the path or another name of a sample, None if there is no such sample."""
    if not 0 <= index < len(dataset):
        return None
    info = getattr(dataset, 'get_data_info', lambda _: {})(index)
    return str(info.get('img_path') or f'sample {index}')


def bad_image_wrapper(dataset: Dataset) -> ReplaceBadImages | None:
    """Return which of the wrappers of a training set replaces unreadable images, if any does."""
    while not (dataset is None or isinstance(dataset, ReplaceBadImages)):
        # MMEngine's wrapper for `num_batch_per_epoch` calls it `_dataset`. Wrappers pass on what
        # they do not have, so asking them for attributes would skip some.
        own = getattr(dataset, '__dict__', {})
        dataset = own.get('_dataset', own.get('dataset'))
    return dataset
