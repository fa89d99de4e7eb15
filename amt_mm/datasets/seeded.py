"""Samples with individually seeded transforms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch.utils.data import get_worker_info

from amt_mm.random_streams import kept_random_streams, seed_cpu_streams

from .wrapper import DatasetWrapper


class SampleKey(int):
    """Index of a sample with the seed of its transforms.

    Attributes:
        seed: 64 bits.
    """

    def __new__(cls, index: int, seed: int) -> SampleKey:
        """Create a key."""
        key = super().__new__(cls, index)
        key.seed = seed
        return key

    def __reduce__(self) -> tuple:
        """Pickle compactly for the workers."""
        return SampleKey, (int(self), self.seed)


class SeededSamples(DatasetWrapper):
    """A training set that seeds the transforms of each sample by its key.

    What a sample draws depends only on its key, from :class:`SeededSampler`: not on what was
    loaded before, nor on number and age of the workers. So workers have no state to save, and a
    run resumed anywhere loads the same samples as an uninterrupted one.

    A data set that takes whole batches (:class:`StagedDataset`) is seeded by the first key of the
    batch. Plain indices are passed on unseeded.

    In the main process the random streams of training are restored afterwards. Workers keep
    those of their last sample, for collate functions that draw.

    Args:
        dataset: The data set, or its config.
    """

    def __getitem__(self, key: int) -> Any:
        """Return one sample by its key or plain index."""
        with _preserved_streams():
            return self._sample(key)

    def __getitems__(self, keys: Sequence[int]) -> list:
        """Return the samples of a batch, in order."""
        with _preserved_streams():
            if not hasattr(self.dataset, '__getitems__'):
                return [self._sample(key) for key in keys]
            _seed(keys[0])
            return self.dataset.__getitems__([int(key) for key in keys])

    def _sample(self, key: int) -> Any:
        _seed(key)
        return self.dataset[int(key)]


def _preserved_streams() -> Any:
    return nullcontext() if get_worker_info() else kept_random_streams(gpu=False)


def _seed(key: int) -> None:
    if isinstance(key, SampleKey):
        seed_cpu_streams(key.seed)
