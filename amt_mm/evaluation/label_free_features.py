"""Label-free measures of an encoder on a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from amt_mm.distributed import from_rank0
from amt_mm.random_streams import kept_random_streams

from .label_free import alignment, rankme, uniformity

# Share of the image's area in a view, as in the pre-training of MAE.
_SCALE = (0.2, 1.0)


def label_free_measures(whole: Mapping[str, Tensor], encode: Callable[..., Mapping[str, Tensor]],
                        seed: int = 0) -> dict[str, dict[str, float]]:
    """Measure RankMe and uniformity of whole images and the alignment of two views of each.

    A view is a random crop of .2 to 1 of the image that the encoder sees, resized to its size and
    flipped with probability .5. It depends only on the seed and the place of the image. All
    processes must call it. Random streams are as before.

    Args:
        whole: Pooling -> features ``(n, D)`` of whole images.
        encode: Called with ``change``, a function of normalised images and their places, returns
            the same of what it makes of them, for example by
            :func:`~amt_mm.evaluation.dataset_features.image_features`.
        seed: Determines the views.

    Returns:
        Pooling -> ``rankme``, ``alignment`` and ``uniformity``, see
        :mod:`~amt_mm.evaluation.label_free`.
    """
    with kept_random_streams(gpu=False):
        views = [encode(change=partial(random_views, seed=(seed, view))) for view in range(2)]
    return {pooling: from_rank0(lambda pooling=pooling: dict(
        rankme=rankme(whole[pooling]),
        alignment=alignment(views[0][pooling], views[1][pooling]),
        uniformity=uniformity(whole[pooling])), patient=True) for pooling in whole}


def random_views(images: Tensor, places: Tensor, seed: Sequence[int]) -> Tensor:
    """Return a random crop of each image ``(B, 3, H, W)``, in the same size.

    It seeds torch's CPU stream, from which the transforms draw.

    Args:
        images: The images.
        places: ``(B,)``, their places in the data set.
        seed: Integers; with the place they determine a view.
    """
    view = v2.Compose([v2.RandomResizedCrop(images.shape[2:], _SCALE), v2.RandomHorizontalFlip()])
    views = []
    for image, place in zip(images, places.tolist(), strict=True):
        state = np.random.SeedSequence([*seed, place]).generate_state(1)[0]
        torch.default_generator.manual_seed(int(state))
        views.append(view(image))
    return torch.stack(views)
