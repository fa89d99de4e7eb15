"""Whole images for a pass that must give one answer a sample, readable or not."""

from __future__ import annotations

from torch.utils.data import Dataset

from amt_mm.errors import InputError

from .bad_images import BadImages
from .replacing import ReplacingDataset
from .unreadable import is_unreadable_image
from .worker_watch import WorkerWatch


class StandIns(Dataset):
    """A view of whole images; for one that cannot be read stands the next, marked as such.

    Its data sample has the index of the image that is bad, and ``unreadable=True``: what is
    computed of it is to be thrown away.

    Args:
        view: Of :func:`whole_image_view`.
        bad: The run's list, to which bad images are added.
        watch: For the loading workers.
    """

    def __init__(self, view: Dataset, bad: BadImages, watch: WorkerWatch) -> None:
        self.view, self.bad, self.watch = view, bad, watch

    def __len__(self) -> int:
        """Of the view."""
        return len(self.view)

    def __getitem__(self, index: int) -> dict:
        """Sample ``index``, or one marked."""
        for step in range(len(self)):
            place = (index + step) % len(self)
            if place in self.bad:
                continue
            try:
                with self.watch.reading(place):
                    data = self.view[place]
            except Exception as error:
                if not is_unreadable_image(error):
                    raise
                self.bad.add(place, str(error))
                continue
            if step:
                data['data_samples'].set_metainfo({'sample_idx': index, 'unreadable': True})
            return data
        self.bad.check()
        raise InputError(f'no image of the training set can be read; see {self.bad.path}')


def with_stand_ins(view: Dataset, training: Dataset, workers: int) -> Dataset:
    """Let a view of a training set replace bad images where the training set does.

    Args:
        view: Of :func:`whole_image_view`.
        training: The training set, with all that is around it.
        workers: Number of loading processes.

    Returns:
        The view itself where training stops at a bad image, so that it does here too.
    """
    while not isinstance(training, ReplacingDataset):
        if not hasattr(training, 'dataset'):
            return view
        training = training.dataset
    return StandIns(view, training.bad, WorkerWatch(workers, training.name_of))
