"""The base of data sets that stand around another one."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from amt_mm.registry import DATASETS


class DatasetWrapper(Dataset):
    """A data set around another: of the same length, and in all but its samples that one.

    Whatever else is read from this object or set on it is read from and set on the data
    set, so that hooks which change its pipeline need not know of the wrapper. What a
    subclass keeps for itself it enters in ``self.__dict__``.

    Args:
        dataset: The data set, or its config.
    """

    def __init__(self, dataset: Dataset | dict) -> None:
        self.__dict__['dataset'] = (
            DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)

    def __len__(self) -> int:
        """Of the data set."""
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """What the data set has beyond its samples."""
        # A copy in the making has no data set yet, and is not to be made by the data set's rules.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Hooks that change a pipeline mean the data set's."""
        setattr(self.dataset, name, value)
