"""Features of a labelled data set, encoded by all processes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

# Rows that processes exchange at once.
_ROWS = 2**13


@dataclass(frozen=True)
class LabelledFeatures:
    """Features and classes of all images of a data set, in its order.

    Attributes:
        features: Pooling (``'cls'``, ``'mean'``) -> ``(n, D)`` float32, on the CPU.
        labels: ``(n,)`` int64, on the CPU.
        names: Class names, None if the data set has none.
    """

    features: dict[str, Tensor]
    labels: Tensor
    names: tuple[str, ...] | None

    def subset(self, which: Tensor) -> LabelledFeatures:
        """Select images by indices or by an ``(n,)`` bool mask."""
        return LabelledFeatures({name: rows[which] for name, rows in self.features.items()},
                                self.labels[which], self.names)


def image_features(model: nn.Module, loader: DataLoader,
                   pooling: Sequence[str] = ('cls', 'mean'), progress: str | None = None,
                   encoder: str = 'student',
                   change: Callable[[Tensor, Tensor], Tensor] | None = None,
                   look: Callable[[Sequence], object] | None = None) -> dict[str, Tensor]:
    """Encode a data set; each process encodes its share and gets all features.

    All processes must call it.

    Args:
        model: An unwrapped model with ``data_preprocessor`` and ``extract_feat``: a host, or a
            classifier of mmpretrain whose backbone returns all tokens.
        loader: Loads packed whole images with MMEngine's ``DefaultSampler``, whose order is known.
        pooling: See :func:`~amt_mm.evaluation.extract_features`.
        progress: Title of a progress bar on the main process's terminal. Defaults to None: no bar.
        encoder: See :func:`whole_image_tokens`.
        change: Applied to normalised images ``(B, 3, H, W)`` and their places in the data set,
            ``(B,)``. Defaults to None: nothing.
        look: Called with the data samples of each batch of this process. Defaults to None.

    Returns:
        Pooling -> features ``(n, D)``, float32, on the CPU, in the order of the data set.

    Raises:
        InputError: Tokens have another shape, or the loader leaves out images.
    """
    index = whole_order(loader)

    def batches() -> Iterator[Tensor]:
        start = 0
        for batch in loader:
            if look is not None:
                look(batch['data_samples'])
            images = model.data_preprocessor(batch)['inputs']
            places = index[start:start + len(images)]
            start += len(images)
            yield images if change is None else change(images, places)

    features = extract_features(model, batches(),
                                partial(whole_image_tokens, model, encoder=encoder),
                                progress if is_main_process() else None, pooling,
                                has_cls=has_cls(model))
    return {name: gather_in_order(index, part, len(loader.dataset))
            for name, part in features.items()}


def labelled_features(model: nn.Module, loader: DataLoader,
                      pooling: Sequence[str] = ('cls', 'mean'), progress: str | None = None,
                      encoder: str = 'student') -> LabelledFeatures:
    """Encode a labelled data set as :func:`image_features` does, which has the arguments.

    Raises:
        InputError: An image does not have exactly one class label; and see there.
    """
    labels: list[int] = []
    features = image_features(
        model, loader, pooling, progress, encoder,
        look=lambda samples: labels.extend(class_label(sample) for sample in samples))
    return LabelledFeatures(
        features, gather_in_order(whole_order(loader), torch.tensor(labels), len(loader.dataset)),
        class_names(loader.dataset))


def whole_order(loader: DataLoader) -> Tensor:
    """Return the samples that this process loads, ``(m,)``; all processes load all of them.

    Raises:
        InputError: The order is unknown, or the loader leaves out images.
    """
    if not isinstance(loader.sampler, DefaultSampler) or loader.drop_last:
        raise InputError("features of every image need a loader with sampler=dict(type='Default"
                         "Sampler', shuffle=False) and without drop_last")
    return torch.tensor(list(loader.sampler))


def has_cls(model: nn.Module) -> bool:
    """Whether the encoder has a [CLS] token, which then comes first."""
    return getattr(model.backbone, 'cls_token', None) is not None


def whole_image_tokens(model: nn.Module, images: Tensor, encoder: str = 'student') -> Tensor:
    """Return the unmasked tokens of the last layer, ``(B, 1 + N, D)``.

    Args:
        model: See :func:`image_features`.
        images: Normalised, ``(B, 3, H, W)``.
        encoder: ``'teacher'`` for ``model.teacher.backbone``. Defaults to ``'student'``, which is
            ``model.backbone``.
    """
    if encoder == 'teacher':
        return model.teacher.backbone(images)[-1]
    # Otherwise a classifier of mmpretrain would also run its neck.
    stage = {'stage': 'backbone'} if 'stage' in signature(model.extract_feat).parameters else {}
    return model.extract_feat(images, **stage)[-1]


def loader_in_order(dataset: Dataset, batch_size: int, num_workers: int = 0,
                    pin_memory: bool = False) -> DataLoader:
    """Build a loader for :func:`image_features` that draws no global random number."""
    return DataLoader(
        dataset, batch_size=batch_size, num_workers=num_workers, pin_memory=pin_memory,
        # Without a seed the sampler would draw one, although it does not shuffle.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0),
        collate_fn=default_collate,
        # Without a generator the loader would draw its base seed globally.
        generator=torch.Generator())


def whole_images(model: nn.Module, dataset: Dataset, batch_size: int = 256) -> Iterator[Tensor]:
    """Yield the images of a data set in order, normalised by the model, as ``(B, C, H, W)``."""
    for batch in loader_in_order(dataset, batch_size):
        yield model.data_preprocessor(batch)['inputs']


def dataset_labels(dataset: Dataset) -> Tensor | None:
    """Return the classes ``(n,)`` without loading images; None if an image has none."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    labels = [info.get('gt_label') for info in infos]
    return None if None in labels else torch.tensor([int(label) for label in labels])


def class_label(sample: object) -> int:
    """Return the one class label of a packed sample; raise InputError if it has none or several."""
    label = sample.get('gt_label')
    if label is None or label.numel() != 1:
        what = 'no class label' if label is None else f'{label.numel()} class labels'
        raise InputError(f'{sample.get("img_path", "an image")} has {what}: evaluation needs one '
                         '`gt_label` per image, for example from class folders')
    return int(label)


def gather_in_order(index: Tensor, values: Tensor, count: int) -> Tensor:
    """Gather rows of all processes in the data set's order, ``(count, ...)``.

    Args:
        index: ``(m,)``, the sample of each row; duplicates are kept once.
        values: ``(m, ...)``, this process's rows.
        count: Size of the data set.
    """
    whole = values.new_empty(count, *values.shape[1:])
    # A sampler with round_up=False gives some processes one image less.
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
