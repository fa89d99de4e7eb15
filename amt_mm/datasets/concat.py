"""Concatenation with one index per sample."""

from __future__ import annotations

from mmengine.dataset import ConcatDataset as _ConcatDataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .staged import StagedDataset


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """MMEngine's concatenation with ``sample_idx`` unique across its children.

    MMEngine restarts ``sample_idx`` at 0 in each child, so two samples would share one saliency
    map.

    Args:
        *args: See :class:`mmengine.dataset.ConcatDataset`.
        **kwargs: See :class:`mmengine.dataset.ConcatDataset`.

    Raises:
        InputError: A child repeats or reorders samples; wrap the concatenation instead. Or a
            child is a :class:`StagedDataset`.
    """

    def full_init(self) -> None:
        """Initialise all children."""
        for child in self.datasets:
            if hasattr(child, 'dataset'):  # RepeatDataset, ClassBalancedDataset, KFoldDataset
                name = type(child).__name__
                if isinstance(child, StagedDataset):
                    raise InputError(f'ConcatDataset of a {name}, which it reads sample by sample: '
                                     'leave it out')
                raise InputError(f'ConcatDataset of a {name} gives one sample several indices: '
                                 f'put the {name} around amt_mm.ConcatDataset instead')
        super().full_init()

    def get_data_info(self, idx: int) -> dict:
        """Return the data information with the global index."""
        info = super().get_data_info(idx)
        info['sample_idx'] = idx % len(self)
        return info

    def __getitem__(self, idx: int) -> dict:
        """Return a packed sample with the global index."""
        data = super().__getitem__(idx)
        child, _ = self._get_ori_dataset_idx(idx)
        first = 0 if child == 0 else self.cumulative_sizes[child - 1]
        samples = data['data_samples']
        # RepeatedCrops returns a list.
        for sample in samples if isinstance(samples, list) else [samples]:
            # The child may have replaced an unreadable image: use the index that it took.
            sample.set_metainfo({'sample_idx': first + sample.sample_idx})
        return data
