"""Whole images for passes that need one result per sample, readable or not."""

from __future__ import annotations

from functools import partial

from torch.utils.data import Dataset

from amt_mm.errors import InputError

from .bad_images import BadImages
from .replace_bad_images import bad_image_wrapper, name_of
from .unreadable import is_unreadable_image
from .worker_watch import WorkerWatch


class StandIns(Dataset):
    """A view of whole images in which the next image stands in for an unreadable one.

    Its data sample has the index of the unreadable image and ``unreadable=True``: discard what is
    computed from it.

    Args:
        view: Of :func:`whole_image_view`.
        bad: List of unreadable images by the indices of the view, which is extended.
        watch: For the loader workers.
    """

    def __init__(self, view: Dataset, bad: BadImages, watch: WorkerWatch) -> None:
        self.view, self.bad, self.watch = view, bad, watch

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> dict:
        """Return sample ``index``, or a marked stand-in."""
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
    """Let a view of a training set replace unreadable images if the training set does.

    Args:
        view: Of :func:`whole_image_view`.
        training: The training set with its wrappers.
        workers: Number of loader workers.

    Returns:
        The view itself if training stops at unreadable images.
    """
    wrapper = bad_image_wrapper(training)
    if wrapper is None:
        return view
    # Not the list of training: below a wrapper that repeats or selects samples, its indices are
    # others. They share the files, in which each ignores lines that do not fit its indices.
    names, known = partial(name_of, view), wrapper.bad
    bad = BadImages(known.folder, names, len(view), known.max_bad, known.rank)
    return StandIns(view, bad, WorkerWatch(workers, names))
