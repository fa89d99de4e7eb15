"""A batch's samples, taken through the pipeline transform by transform."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

# Samples in hand at once: enough for code to stay in the caches, few enough that pixels do.
_CHUNK = 16


@DATASETS.register_module()
class StagedDataset(Dataset):
    """Same samples, same pipeline, in an order that is kinder to the processor's caches.

    Sample by sample, each transform finds its code and tables displaced by the one
    before. Here 16 samples pass one transform before the next begins (a transform may
    name parts of itself as ``stages``). torch's loader asks for a batch at once where a
    data set offers ``__getitems__``.

    The stream of chance is used in another order than sample by sample, with the same
    distribution, and as reproducibly.

    Args:
        dataset: The data set, or its config.

    Raises:
        InputError: A data set without a pipeline of its own.
    """

    def __init__(self, dataset: BaseDataset | dict) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not hasattr(self.dataset, 'pipeline'):
            raise InputError(f'StagedDataset of a {type(self.dataset).__name__}, which has no '
                             'pipeline of its own: put StagedDataset around its children, or leave '
                             'it out')

    @property
    def metainfo(self) -> dict:
        """Of the data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Initialise the data set."""
        self.dataset.full_init()

    def get_data_info(self, idx: int) -> dict:
        """Of the data set."""
        return self.dataset.get_data_info(idx)

    def __len__(self) -> int:
        """Of the data set."""
        return len(self.dataset)

    def __getitem__(self, idx: int) -> dict:
        """One sample, as the data set gives it."""
        return self.dataset[idx]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Samples of a batch, in order.

        Args:
            indices: Of the samples.
        """
        self.full_init()
        return [sample for start in range(0, len(indices), _CHUNK)
                for sample in self._chunk(indices[start:start + _CHUNK])]

    def _chunk(self, indices: Sequence[int]) -> list[dict]:
        samples = [self.dataset.get_data_info(index) for index in indices]
        for transform in self.dataset.pipeline.transforms:
            for stage in getattr(transform, 'stages', (transform, )):
                samples = [sample if sample is None else stage(sample) for sample in samples]
        # What could not be read is replaced by the data set's own rule.
        return [self.dataset[index] if sample is None else sample
                for index, sample in zip(indices, samples, strict=True)]
