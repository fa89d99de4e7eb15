"""Section: where the queries of attentive probes look."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from amt_mm.saliency import entropy

from .page import Picture, colour_scale, legend
from .pictures import saliency_overlay
from .sections import Row, Section
from .shown import ShownImages

# Queries shown besides the mean of all.
_QUERIES = 4


def query_rows(name: str, shown: ShownImages, maps: Tensor) -> list[Row]:
    """Show the queries whose attention is on the fewest patches, and the mean of all.

    Args:
        name: Of the encoder and the probe.
        shown: The images.
        maps: Attention of each query to the patches of each image, ``(B, M, N)``, rows sum to 1.
    """
    spread = entropy(maps.flatten(0, 1)).view(maps.shape[:2])  # (B, M)
    narrow = spread.mean(dim=0).argsort()[:_QUERIES].tolist()
    maps = maps.unflatten(2, shown.grid).numpy()
    return [Row(f'{image_name}, {name}', [
        Picture('image', image),
        Picture('all queries', saliency_overlay(image, each.mean(axis=0))),
        *(Picture(f'query {query + 1}', saliency_overlay(image, each[query]))
          for query in narrow)])
        for image_name, image, each in zip(shown.names, shown.images, maps, strict=True)]


def queries_section(rows: Sequence[Row]) -> Section:
    """Return the section of :func:`query_rows` of all encoders and probes."""
    return Section(
        'queries', 'Where attentive probes look',
        ['An attentive probe answers by the patches that its learned queries attend to. The mean '
         f'over all queries comes first, then the {_QUERIES} queries whose attention is on the '
         'fewest patches, on average over these images. Each map is stretched to its own range, '
         'so compare places, not strengths.'],
        rows, legend(colour_scale('attention', 'low to high, in each map')),
        columns=2 + _QUERIES)
