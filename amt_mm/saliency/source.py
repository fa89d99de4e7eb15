"""SaliencySource: how maps are computed from a transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .attention import cls_attention, normalize_heads, received_attention
from .debias import debias
from .features import feature_deviation, patch_features
from .normalize import min_max
from .vit_blocks import select_blocks

_ATTENTION = {'cls': cls_attention, 'all': received_attention}


@dataclass(frozen=True)
class SaliencySource:
    """Computation of maps; the default is the paper's.

    Args:
        source: ``'cls'``: attention of [CLS], see
            :func:`~amt_mm.saliency.attention.cls_attention`. ``'all'``: attention received from all
            tokens, :func:`~amt_mm.saliency.attention.received_attention`. ``'feature'``: deviation
            of the last features, :func:`~amt_mm.saliency.features.feature_deviation`.
        layers: Blocks whose attention is used: ``'last'``, ``'mean'`` over all, or the index of
            one, from 0, negative from the end.
        normalize: ``'map'`` (paper) or ``'head'`` (authors' release), see
            :func:`~amt_mm.saliency.attention.normalize_heads`.
        debias: Divide each map by the mean map of the data set, see
            :func:`~amt_mm.saliency.debias.debias`.

    Raises:
        InputError: An unknown value, or ``layers`` or ``normalize`` for features, which
            have neither.
    """

    source: str = 'cls'
    layers: int | str = 'last'
    normalize: str = 'map'
    debias: bool = False

    def __post_init__(self) -> None:
        check_choice('source', self.source, (*_ATTENTION, 'feature'))
        if self.layers not in ('last', 'mean') and type(self.layers) is not int:
            raise InputError(f"layers={self.layers!r} is unknown; use 'last', 'mean' or the index "
                             'of a block')
        check_choice('normalize', self.normalize, ('map', 'head'))
        if type(self.debias) is not bool:
            raise InputError(f'debias={self.debias!r} must be True or False')
        if self.source == 'feature' and self.layers != 'last':
            raise InputError(f"layers={self.layers!r} applies to attention only: source='feature' "
                             'uses the last block; remove layers')
        if self.source == 'feature' and self.normalize != 'map':
            raise InputError(f"normalize={self.normalize!r} applies to attention only: "
                             "source='feature' has no heads; remove normalize")

    @property
    def required_means(self) -> tuple[str, ...]:
        """Names of the means over the data set that maps need, in the order of their computation.

        ``'feature'``: of the features at each position; ``'map'``: of the maps before debiasing.
        """
        return ('feature', ) * (self.source == 'feature') + ('map', ) * self.debias

    def check(self, vit: nn.Module) -> None:
        """Check that a transformer is supported.

        Raises:
            InputError: The architecture is not supported, or has no such block.
        """
        select_blocks(vit, self.layers)

    def extract(self, vit: nn.Module, images: Tensor) -> Tensor:
        """Run the transformer; all other steps cost next to nothing.

        Args:
            vit: See :func:`~amt_mm.saliency.attention.cls_attention`.
            images: Normalised images, ``(B, C, H, W)``.

        Returns:
            Attention ``(B, heads, N)`` or features ``(B, N, D)``, fp32, without gradient.
        """
        if self.source == 'feature':
            return patch_features(vit, images)
        return _ATTENTION[self.source](vit, images, self.layers)

    def maps(self, vit: nn.Module, images: Tensor,
             means: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the maps of a batch of images.

        Args:
            vit: See :meth:`extract`.
            images: See :meth:`extract`.
            means: Means over the data set, by the names in ``required_means``.

        Returns:
            ``(B, N)`` fp32 in [0, 1]; zeros for an image without preference.
        """
        maps = self._raw_maps(self.extract(vit, images), means)
        return debias(maps, means['map']) if self.debias else maps

    def means(self, vit: nn.Module, batches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """Compute the required means in one process.

        Args:
            vit: See :meth:`extract`.
            batches: Gives batches of images, ``(B, C, H, W)``; called once for each mean.

        Returns:
            Name in ``required_means`` -> ``(N, D)`` features or ``(N,)`` map, fp32.
        """
        means: dict[str, Tensor] = {}
        for name in self.required_means:
            total, count = 0., 0
            for images in batches():
                values, counts = self.values_to_average(name, vit, images, means)
                total += values[counts].sum(dim=0, dtype=torch.float64)
                count += int(counts.sum())
            means[name] = (total / max(1, count)).float()
        return means

    def values_to_average(self, name: str, vit: nn.Module, images: Tensor,
                          means: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the values of a batch of images that enter one of the required means.

        Args:
            name: One of ``required_means``.
            vit: See :meth:`extract`.
            images: See :meth:`extract`.
            means: The required means before it.

        Returns:
            Values, ``(B, N, D)`` features or ``(B, N)`` maps, and which images count, ``(B,)``
            bool: those that are finite and not constant.
        """
        extracted = self.extract(vit, images)
        if name == 'feature':
            return extracted, extracted.flatten(1).isfinite().all(dim=1)
        maps = self._raw_maps(extracted, means)
        return maps, maps.amax(dim=1) > 0

    def _raw_maps(self, extracted: Tensor, means: Mapping[str, Tensor] | None) -> Tensor:
        """Maps before debiasing."""
        if self.source == 'feature':
            return min_max(feature_deviation(extracted, means['feature']))
        return normalize_heads(extracted, self.normalize)
