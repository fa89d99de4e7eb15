"""Base class of data set wrappers."""

from __future__ import annotations

from typing import Any

from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS


class DatasetWrapper(Dataset):
    """A data set around another, of equal length, that changes only its samples.

    All other attributes are read from and set on the inner data set, so hooks that change its
    pipeline need not know the wrapper. Subclasses keep their own attributes in ``self.__dict__``.

    Args:
        dataset: The data set, or its config.
    """

    def __init__(self, dataset: Dataset | dict) -> None:
        self.__dict__['dataset'] = (
            DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # During copying there is no data set yet, and its rules for copies must not apply.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.dataset, name, value)


def refuse_own_reading(dataset: Dataset, use: str) -> None:
    """Refuse a data set whose samples are more than ``get_data_info`` and the pipeline give.

    Args:
        dataset: To be used without its ``prepare_data``.
        use: What uses it, for the message.

    Raises:
        InputError: It has a ``prepare_data`` of its own.
    """
    usual = BaseDataset.prepare_data
    if getattr(type(dataset), 'prepare_data', usual) is not usual:
        raise InputError(f'{use}: {type(dataset).__name__} reads its images itself, not in its '
                         'pipeline: use the data set as it is')
