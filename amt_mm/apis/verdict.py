"""What a comparison of recipes shows, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

_ACCURACIES = {'knn': 'k-NN', 'linear_mean': 'the linear probe'}
_NORMAL95 = 1.96


def margin(one: float, other: float, images: int) -> float:
    """Half the width of the 95 % interval of the difference of two accuracies.

    Both are taken as measured on samples of their own, which is wider than the interval for the
    same images.

    Args:
        one: Accuracy, %.
        other: The other, %.
        images: Number of test images.
    """
    variance = sum(p / 100 * (1 - p / 100) for p in (one, other)) / images
    return 100 * _NORMAL95 * math.sqrt(variance)


def verdict(results: Mapping[str, Mapping], untrained: str, reference: str) -> list[str]:
    """Say what each recipe has gained, and what the run cannot show.

    Args:
        results: Name -> measures of :func:`amt_mm.evaluation.judge`, the recommended recipe first
            after ``untrained``.
        untrained: Name of the encoder without training.
        reference: Name of the recipe that the others are compared with.

    Returns:
        Sentences.
    """
    trained = {name: found for name, found in results.items() if name != untrained}
    images = results[untrained].get('test_images')
    if images is None:
        return ['The images have no classes, so nothing tells how good the encoders are: compare '
                'the pictures, or sort some images into a subfolder for each class.']
    lines = []
    for name, found in trained.items():
        lines.append(f'{name} beside no training: '
                     + _differences(found, results[untrained], images) + '.')
    for name, found in trained.items():
        if name != reference:
            lines.append(f'{name} beside {reference}: '
                         + _differences(found, results[reference], images) + '.')
    lines += [f'{name}: {found["attention_on_object"]:.0f} % of the attention is on the object, '
              f'which covers {found["object_area"]:.0f} % of the image (untrained: '
              f'{results[untrained]["attention_on_object"]:.0f} %).'
              for name, found in trained.items() if 'attention_on_object' in found]
    lines.append(f'The intervals (95 %) are those of {images:,} test images; another seed moves '
                 'the figures, too.')
    return lines


def _differences(found: Mapping, other: Mapping, images: int) -> str:
    parts = []
    for measure, name in _ACCURACIES.items():
        difference = found[measure] - other[measure]
        width = margin(found[measure], other[measure], images)
        unclear = abs(difference) <= width
        parts.append(f'{name} {difference:+.1f} ± {width:.1f} points'
                     + ', no difference that this run can show' * unclear)
    return '; '.join(parts)
