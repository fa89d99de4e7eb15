"""Batches that pass the pipeline transform by transform."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.dataset import BaseDataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .wrapper import DatasetWrapper, refuse_own_reading

# Samples per stage: enough to keep code in the caches, few enough to keep pixels there.
_CHUNK = 16


@DATASETS.register_module()
class StagedDataset(DatasetWrapper):
    """Same samples and pipeline, in a cache-friendlier order.

    Sample by sample, each transform finds its code and tables evicted by the one before. Here 16
    samples pass one transform (or one of its ``stages``) before the next begins. torch's loader
    requests a whole batch if a data set has ``__getitems__``.

    Random numbers are drawn in another order than sample by sample, with the same distribution,
    and as reproducibly.

    Args:
        dataset: The data set, or its config.

    Raises:
        InputError: The data set has no pipeline, or reads its images outside it.
    """

    def __init__(self, dataset: BaseDataset | dict) -> None:
        super().__init__(dataset)
        if not hasattr(self.dataset, 'pipeline'):
            raise InputError(f'StagedDataset of a {type(self.dataset).__name__}, which has no '
                             'pipeline of its own: leave it out')
        refuse_own_reading(self.dataset, 'StagedDataset')

    def __getitem__(self, idx: int) -> dict:
        """Return one sample, as the data set does."""
        return self.dataset[idx]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Return the samples of a batch, in order."""
        self.full_init()
        return [sample for start in range(0, len(indices), _CHUNK)
                for sample in self._chunk(indices[start:start + _CHUNK])]

    def _chunk(self, indices: Sequence[int]) -> list[dict]:
        samples = [self.dataset.get_data_info(index) for index in indices]
        for transform in self.dataset.pipeline.transforms:
            for stage in getattr(transform, 'stages', (transform, )):
                samples = [sample if sample is None else stage(sample) for sample in samples]
        # The data set itself replaces what could not be read.
        return [self.dataset[index] if sample is None else sample
                for index, sample in zip(indices, samples, strict=True)]
