"""Another sample in the place of one whose image cannot be read."""

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

# Draws of another sample: with a hundredth of the images bad, 20 in a row never are.
_TRIES = 20


class ReplacingDataset(DatasetWrapper):
    """A training set in which another sample stands for one whose image cannot be read.

    Which one is a function of the key alone (its seed under
    :class:`amt_mm.datasets.seeded.SeededSamples`, else the index), and the other sample is
    made as the key says. So it makes no difference who found the image bad, and when: a
    resumed run equals an unbroken one. The other sample comes with its own label and
    ``sample_idx``, so labels and saliency maps stay those of the image that is shown.

    A fault of a transform other than loading is raised as it is.

    In a worker it also keeps note of what is being read, see :class:`WorkerWatch`.

    Args:
        dataset: The data set, or its config.
        folder: Where the list of bad images is kept, see :class:`BadImages`.
        max_bad: Share of bad images past which the run stops.
        rank: Of this process.
        workers: Loading processes. Defaults to 0.

    Raises:
        InputError: In use, too many images are bad.
    """

    def __init__(self, dataset: Dataset | dict, folder: str | os.PathLike, max_bad: float = 0.01,
                 rank: int = 0, workers: int = 0) -> None:
        super().__init__(dataset)
        own = self.__dict__
        own['bad'] = BadImages(folder, self.name_of, self._images(), max_bad, rank)
        own['watch'] = WorkerWatch(workers, self.name_of)
        seen = self.dataset.dataset if isinstance(self.dataset, SeededSamples) else self.dataset
        # Whether the samples of a batch depend on each other.
        own['_at_once'] = hasattr(seen, '__getitems__')

    def __getitem__(self, key: int) -> Any:
        """One sample.

        Args:
            key: Index, perhaps with a seed.
        """
        while True:
            chosen = self._chosen(key)
            try:
                with self.watch.reading(chosen):
                    return self.dataset[chosen]
            except Exception as error:
                if not is_unreadable_image(error):
                    raise
                self.bad.add(int(chosen), str(error))

    def __getitems__(self, keys: Sequence[int]) -> list:
        """Samples of a batch, in order.

        Args:
            keys: Indices, perhaps with seeds.
        """
        if get_worker_info() and not self._at_once or not hasattr(self.dataset, '__getitems__'):
            # The same samples, and a worker that dies is known to have read this very one.
            return [self[key] for key in keys]
        while True:
            chosen = [self._chosen(key) for key in keys]
            try:
                with self.watch.reading(*chosen):
                    return self.dataset.__getitems__(chosen)
            except Exception as error:
                if not is_unreadable_image(error):
                    raise
                # Which ones they are is not known here.
                if sum(self._is_bad(key) for key in chosen) == 0:
                    raise

    def name_of(self, index: int) -> str | None:
        """Path of a sample's image, or what else names it; None where there is no sample.

        Args:
            index: Of the sample.
        """
        if not 0 <= index < len(self):
            return None
        info = getattr(self.dataset, 'get_data_info', lambda _: {})(index)
        return str(info.get('img_path') or f'sample {index}')

    def _is_bad(self, key: int) -> bool:
        """Read a sample alone, and enter it if it is bad."""
        try:
            with self.watch.reading(key):
                self.dataset[key]
        except Exception as error:
            if not is_unreadable_image(error):
                raise
            self.bad.add(int(key), str(error))
            return True
        return False

    def _chosen(self, key: int) -> int:
        """The key itself, or one of the same seed whose image is not known to be bad."""
        if key not in self.bad:
            return key
        seed = getattr(key, 'seed', int(key))
        for index in np.random.default_rng([seed, int(key)]).integers(len(self), size=_TRIES):
            if index not in self.bad:
                return type(key)(int(index), seed) if hasattr(key, 'seed') else int(index)
        self.bad.check()
        raise InputError(f'{self.name_of(int(key))}: not readable as an image, and neither are '
                         f'{_TRIES} others that were drawn in its place; see {self.bad.path}')

    def _images(self) -> int:
        """Number of images; wrappers that repeat them do not count."""
        dataset = self.dataset
        while hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        return len(dataset)
