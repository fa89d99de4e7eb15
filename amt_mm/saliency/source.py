"""SaliencySource: what of a transformer becomes the map of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from amt_mm.errors import InputError

from .attention import cls_attention, normalized, received_attention
from .debias import debias
from .features import feature_deviation, patch_features
from .normalize import min_max
from .vit_blocks import chosen_blocks

_LOOKS = {'cls': cls_attention, 'all': received_attention}


@dataclass(frozen=True)
class SaliencySource:
    """Where maps come from; the default is the paper's.

    Args:
        source: ``'cls'``: attention of [CLS], see
            :func:`~amt_mm.saliency.attention.cls_attention`. ``'all'``: attention received
            from all tokens, :func:`~amt_mm.saliency.attention.received_attention`.
            ``'feature'``: how far the last features are from those of their position and
            image, :func:`~amt_mm.saliency.features.feature_deviation`.
        layers: Blocks whose attention counts: ``'last'``, ``'mean'`` over all, or the index
            of one, from 0, negative from the end.
        normalize: ``'map'`` (paper) or ``'head'`` (authors' release), see
            :func:`~amt_mm.saliency.attention.normalized`.
        debias: Divide each map by the mean map of the data set, see
            :func:`~amt_mm.saliency.debias.debias`.

    Attributes:
        needs: Names of the means over the data set that maps need, in the order in which
            they must be taken: ``'feature'`` of the features of each position, ``'map'`` of
            the maps before debiasing.

    Raises:
        InputError: An unknown value, or ``layers`` or ``normalize`` for features, which
            have neither.
    """

    source: str = 'cls'
    layers: int | str = 'last'
    normalize: str = 'map'
    debias: bool = False

    def __post_init__(self) -> None:
        if self.source not in (*_LOOKS, 'feature'):
            raise InputError(f"source={self.source!r} is unknown: use 'cls', 'all' or 'feature'")
        if self.layers not in ('last', 'mean') and type(self.layers) is not int:
            raise InputError(f"layers={self.layers!r} is unknown: use 'last', 'mean' or the index "
                             'of a block')
        if self.normalize not in ('map', 'head'):
            raise InputError(f"normalize={self.normalize!r} is unknown: use one of 'map', 'head'")
        if type(self.debias) is not bool:
            raise InputError(f'debias={self.debias!r} must be True or False')
        if self.source == 'feature' and self.layers != 'last':
            raise InputError(f"layers={self.layers!r} is of attention: source='feature' reads the "
                             'last block, leave layers out')
        if self.source == 'feature' and self.normalize != 'map':
            raise InputError(f"normalize={self.normalize!r} is of attention: source='feature' has "
                             'no heads, leave normalize out')

    @property
    def needs(self) -> tuple[str, ...]:
        """See the class."""
        return ('feature', ) * (self.source == 'feature') + ('map', ) * self.debias

    def check(self, vit: nn.Module) -> None:
        """Refuse a transformer that this cannot read.

        Raises:
            InputError: It is built in another way, or has no such block.
        """
        chosen_blocks(vit, self.layers)

    def look(self, vit: nn.Module, images: Tensor) -> Tensor:
        """All that is taken from the transformer, and so all that costs anything.

        Args:
            vit: See :func:`~amt_mm.saliency.attention.cls_attention`.
            images: Normalised images, ``(B, C, H, W)``.

        Returns:
            Attention ``(B, heads, N)`` or features ``(B, N, D)``, fp32, without gradient.
        """
        if self.source == 'feature':
            return patch_features(vit, images)
        return _LOOKS[self.source](vit, images, self.layers)

    def maps(self, vit: nn.Module, images: Tensor,
             means: Mapping[str, Tensor] | None = None) -> Tensor:
        """Maps of some images.

        Args:
            vit: See :meth:`look`.
            images: See :meth:`look`.
            means: Means over the data set, by the names in ``needs``.

        Returns:
            ``(B, N)`` fp32 in [0, 1]; zeros for an image without preference.
        """
        maps = self._before_debias(self.look(vit, images), means)
        return debias(maps, means['map']) if self.debias else maps

    def to_average(self, name: str, vit: nn.Module, images: Tensor,
                   means: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What one of the means that maps need is taken of.

        Args:
            name: One of ``needs``.
            vit: See :meth:`look`.
            images: See :meth:`look`.
            means: Those before it.

        Returns:
            A value for each image, ``(B, N, D)`` features or ``(B, N)`` maps, and which
            images count, ``(B,)`` bool: not those that are not finite, or without preference.
        """
        seen = self.look(vit, images)
        if name == 'feature':
            return seen, seen.flatten(1).isfinite().all(dim=1)
        maps = self._before_debias(seen, means)
        return maps, maps.amax(dim=1) > 0

    def _before_debias(self, seen: Tensor, means: Mapping[str, Tensor] | None) -> Tensor:
        if self.source == 'feature':
            return min_max(feature_deviation(seen, means['feature']))
        return normalized(seen, self.normalize)
