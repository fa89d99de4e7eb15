"""Features of a labelled data set, of all processes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature

import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.dist import all_gather, is_main_process
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from amt_mm.datasets.train_and_test import class_names
from amt_mm.errors import InputError

from .features import extract_features

# Rows that processes exchange at a time.
_ROWS = 2**13


@dataclass(frozen=True)
class LabelledFeatures:
    """Features and classes of all images of a data set, in its order.

    Attributes:
        features: From pooling (``'cls'``, ``'mean'``) to (n, D) float32, on the CPU.
        labels: (n,) int64, on the CPU.
        names: Names of the classes, or None if the data set has none.
    """

    features: dict[str, Tensor]
    labels: Tensor
    names: tuple[str, ...] | None

    def chosen(self, which: Tensor) -> LabelledFeatures:
        """Those of some images.

        Args:
            which: Numbers of images, or (n,) of which are chosen.
        """
        return LabelledFeatures({name: rows[which] for name, rows in self.features.items()},
                                self.labels[which], self.names)


def labelled_features(model: nn.Module, loader: DataLoader,
                      pooling: Sequence[str] = ('cls', 'mean'), progress: str | None = None,
                      encoder: str = 'student') -> LabelledFeatures:
    """Encode a labelled data set; each process encodes its share.

    Every process must call it, and every process gets all features: what an image
    shown twice to fill the shares up gave is kept once.

    Args:
        model: A model with ``data_preprocessor`` and ``extract_feat``, not wrapped:
            a host, or a classifier of mmpretrain whose backbone gives all tokens.
        loader: Loads packed, labelled, whole images; its sampler is MMEngine's
            ``DefaultSampler``, so that the order is known.
        pooling: See :func:`~amt_mm.evaluation.extract_features`.
        progress: Name of the progress bar, which the main process shows on a
            terminal. Defaults to none.
        encoder: See :func:`whole_image_tokens`.

    Returns:
        The features.

    Raises:
        InputError: An image without one class label, tokens of another shape, or a
            loader that does not show every image.
    """
    if not isinstance(loader.sampler, DefaultSampler) or loader.drop_last:
        raise InputError("features of every image need a loader with sampler=dict(type='Default"
                         "Sampler', shuffle=False) and without drop_last")
    order, labels = list(loader.sampler), []

    def batches() -> Iterator[Tensor]:
        for batch in loader:
            labels.extend(_label(sample) for sample in batch['data_samples'])
            yield model.data_preprocessor(batch)['inputs']

    features = extract_features(model, batches(),
                                partial(whole_image_tokens, model, encoder=encoder),
                                progress if is_main_process() else None, pooling)
    count, index = len(loader.dataset), torch.tensor(order)
    return LabelledFeatures(
        {name: _gathered(index, part, count) for name, part in features.items()},
        _gathered(index, torch.tensor(labels), count), class_names(loader.dataset))


def whole_image_tokens(model: nn.Module, images: Tensor, encoder: str = 'student') -> Tensor:
    """Tokens of the last layer, ``(B, 1 + N, D)``, of normalised images, nothing masked.

    Args:
        model: See :func:`labelled_features`.
        images: ``(B, 3, H, W)``.
        encoder: ``'teacher'`` takes the encoder in ``model.teacher``. Defaults to
            ``'student'``: that in ``model.backbone``, of which models without a teacher
            have no other.
    """
    if encoder == 'teacher':
        return model.teacher.backbone(images)[-1]
    # A classifier of mmpretrain would also run its neck.
    stage = {'stage': 'backbone'} if 'stage' in signature(model.extract_feat).parameters else {}
    return model.extract_feat(images, **stage)[-1]


def loader_in_order(dataset: Dataset, batch_size: int, num_workers: int = 0,
                    pin_memory: bool = False) -> DataLoader:
    """A loader for :func:`labelled_features` that draws from no random stream."""
    return DataLoader(
        dataset, batch_size=batch_size, num_workers=num_workers, pin_memory=pin_memory,
        # Without a seed, though it never shuffles, it would draw one.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0),
        collate_fn=default_collate,
        # Else the loader would draw its base seed from the global stream.
        generator=torch.Generator())


def whole_images(model: nn.Module, dataset: Dataset, batch_size: int = 256) -> Iterator[Tensor]:
    """All images of a data set in order, normalised by the model, ``(B, C, H, W)`` each."""
    for batch in loader_in_order(dataset, batch_size):
        yield model.data_preprocessor(batch)['inputs']


def dataset_labels(dataset: Dataset) -> Tensor | None:
    """Classes ``(n,)`` of all images, without loading them; None if one has none."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    labels = [info.get('gt_label') for info in infos]
    return None if None in labels else torch.tensor([int(label) for label in labels])


def _label(sample: object) -> int:
    label = sample.get('gt_label')
    if label is None or label.numel() != 1:
        what = 'no class label' if label is None else f'{label.numel()} class labels'
        raise InputError(f'{sample.get("img_path", "an image")} has {what}: the measure needs '
                         'data sets of one `gt_label` an image (with class folders, say)')
    return int(label)


def _gathered(index: Tensor, values: Tensor, count: int) -> Tensor:
    """Values of all processes in the data set's order, on every process.

    Args:
        index: (m,) which sample each row is of.
        values: (m, ...) of this process.
        count: Samples of the data set.

    Returns:
        (count, ...).
    """
    whole = values.new_empty(count, *values.shape[1:])
    # A sampler that does not fill up gives some processes one image less than others.
    longest = max(int(length) for length in all_gather(torch.tensor(len(index))))
    for start in range(0, longest, _ROWS):
        size = min(_ROWS, longest - start)
        numbers = index.new_full((size, ), -1)
        rows = values.new_zeros(size, *values.shape[1:])
        own = len(index[start:start + size])
        numbers[:own], rows[:own] = index[start:start + own], values[start:start + own]
        for found, part in zip(all_gather(numbers), all_gather(rows), strict=True):
            whole[found[found >= 0]] = part[found >= 0]
    return whole
