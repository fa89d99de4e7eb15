"""Samples whose transforms draw from a stream of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch.utils.data import get_worker_info

from amt_mm.random_streams import kept_cpu_streams, seed_cpu_streams

from .wrapper import DatasetWrapper


class SampleKey(int):
    """The index of a sample, with the seed of what its transforms draw.

    Attributes:
        seed: 64 bits.
    """

    def __new__(cls, index: int, seed: int) -> SampleKey:
        """Make a key."""
        key = super().__new__(cls, index)
        key.seed = seed
        return key

    def __reduce__(self) -> tuple:
        """Travel to the workers in few bytes."""
        return SampleKey, (int(self), self.seed)


class SeededSamples(DatasetWrapper):
    """A training set, each sample of which is transformed with streams seeded by its key.

    What a sample draws depends on nothing but its key, which :class:`SeededSampler`
    makes: not on what was loaded before, on the number of workers, or on how long they
    live. So there is no state of workers to save, and a run that is resumed anywhere
    loads what an unbroken one does.

    A data set that takes a batch at once (:class:`StagedDataset`) is seeded by the
    first key of the batch. Asked by a plain index, the data set answers as without this.

    In the main process the streams of training are given back as they were. A worker
    keeps those of its last sample, for a collate function that draws.

    Args:
        dataset: The data set, or its config.
    """

    def __getitem__(self, key: int) -> Any:
        """One sample.

        Args:
            key: Of the sampler, or a plain index.
        """
        with _streams_of_training():
            return self._sample(key)

    def __getitems__(self, keys: Sequence[int]) -> list:
        """Samples of a batch, in order.

        Args:
            keys: Of the sampler, or plain indices.
        """
        with _streams_of_training():
            if not hasattr(self.dataset, '__getitems__'):
                return [self._sample(key) for key in keys]
            _seed(keys[0])
            return self.dataset.__getitems__([int(key) for key in keys])

    def _sample(self, key: int) -> Any:
        _seed(key)
        return self.dataset[int(key)]


def _streams_of_training() -> Any:
    return nullcontext() if get_worker_info() else kept_cpu_streams()


def _seed(key: int) -> None:
    if isinstance(key, SampleKey):
        seed_cpu_streams(key.seed)
