"""Samplers that seed samples, and that start mid-epoch without loading what comes before."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader, Dataset, Sampler

from amt_mm.random_streams import SAMPLES, seed_sequence

from .seeded import SampleKey

# Number of seeds drawn at once.
_BLOCK = 1024


class SeededSampler(Sampler):
    """A sampler's indices in its order, as keys with a seed each.

    The seed is a function of (seed of the run, pass over the data, rank, position in the pass),
    so each pass has new crops, whatever the workers.

    Args:
        sampler: The sampler, or its config. Other attributes are delegated to it.
        dataset: For the sampler.
        seed: Of the run. Defaults to None, as the runner passes it with ``diff_rank_seed``: the
            sampler's own, which all processes share.
    """

    def __init__(self, sampler: Iterable[int] | dict, dataset: Dataset, seed: int | None = None
                 ) -> None:
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=seed)
        ) if isinstance(sampler, dict) else sampler
        self.seed = getattr(self.sampler, 'seed', 0) if seed is None else seed
        self.begin(0, 0)

    def begin(self, number: int, skipped: int) -> None:
        """Set where the next iteration begins.

        Args:
            number: Of the pass over the data, used for the seeds only.
            skipped: Number of indices of the pass to skip without loading.
        """
        self._number, self._skipped, self._begun = number, skipped, False

    def set_epoch(self, epoch: int) -> None:
        """Begin a pass, in the sampler's order for this epoch."""
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)
        self.begin(epoch, 0)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[SampleKey]:
        """Yield the keys of one pass."""
        if self._begun:
            # The loop does not set the pass: never repeat seeds.
            self.begin(self._number + 1, 0)
        self._begun = True
        bits = np.random.PCG64(seed_sequence(self.seed, self._number, SAMPLES))
        bits.advance(self._skipped)
        indices = itertools.islice(iter(self.sampler), self._skipped, None)
        # Lists, because numpy integers are slower to use and to pickle.
        blocks = iter(lambda: bits.random_raw(_BLOCK).tolist(), None)
        yield from map(SampleKey, indices, itertools.chain.from_iterable(blocks))

    def __getattr__(self, name: str) -> Any:
        if name == 'sampler' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.sampler, name)


class SkippingBatchSampler(Sampler):
    """A batch sampler from the config that can skip the first batches.

    Args:
        batch_sampler: Its config.
        sampler: For the batch sampler.
        batch_size: For the batch sampler.
    """

    def __init__(self, batch_sampler: dict, sampler: SeededSampler, batch_size: int) -> None:
        self.batch_sampler = DATA_SAMPLERS.build(
            batch_sampler, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.sampler = sampler
        self.skipped = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yield the batches of one pass."""
        skipped, self.skipped = self.skipped, 0
        yield from itertools.islice(iter(self.batch_sampler), skipped, None)

    def __getattr__(self, name: str) -> Any:
        if name == 'batch_sampler' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)


def seeded_sampler(loader: DataLoader) -> SeededSampler | None:
    """Return the sampler that seeds a loader's samples, None without one."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if isinstance(sampler, SeededSampler):
            return sampler
    return None


def begin_pass(loader: DataLoader, number: int, batch: int) -> None:
    """Start the next iteration of a loader at a given batch.

    Args:
        loader: With a :class:`SeededSampler`.
        number: Of the pass over the data, used for the seeds only.
        batch: Index of the first batch.
    """
    if isinstance(loader.batch_sampler, SkippingBatchSampler):
        # Only it knows how many indices the first batches take.
        loader.batch_sampler.skipped = batch
        seeded_sampler(loader).begin(number, 0)
    else:
        seeded_sampler(loader).begin(number, batch * (loader.batch_size or 1))
