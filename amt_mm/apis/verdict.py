"""What a comparison of recipes shows, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

_ACCURACIES = {'knn': 'k-NN', 'linear_mean': 'linear probe'}
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


def verdict(results: Mapping[str, Mapping], untrained: str, reference: str,
            times: Mapping[str, float] | None = None) -> list[str]:
    """Say what each recipe has gained, and what the run cannot show.

    Args:
        results: Name -> measures of :func:`amt_mm.evaluation.judge`.
        untrained: Name of the encoder without training.
        reference: Name of the recipe that the others are compared with; it comes last.
        times: Name -> seconds of a step. Defaults to None: not said.

    Returns:
        A sentence for each recipe, and one on all of them.
    """
    images = results[untrained].get('test_images')
    names = sorted(results.keys() - {untrained}, key=lambda name: (
        name == reference, list(results).index(name)))
    lines = []
    for name in names:
        others = [other for other in (untrained, reference) if other != name]
        parts = [] if images is None else [
            f'{title} {results[name][measure]:.1f} %, ' + ' and '.join(
                _difference(results, name, other, measure, images) for other in others)
            for measure, title in _ACCURACIES.items()]
        if 'attention_on_object' in results[name]:
            parts.append(f'{results[name]["attention_on_object"]:.0f} % of the attention on the '
                         f'object, which covers {results[name]["object_area"]:.0f} % of the image')
        if times and name != reference:
            parts.append(f'a step takes {times[name] / times[reference]:.2f} of the time of one '
                         f'of {reference}')
        if parts:
            lines.append(f'{name}: {"; ".join(parts)}.')
    lines.append(
        'The images have no classes, so their accuracy cannot be measured: compare the '
        'pictures, or sort some images into a subfolder for each class.' if images is None else
        f'± is the 95 % interval of a difference on {images:,} test images; another seed moves the '
        'figures, too.')
    return lines


def _difference(results: Mapping[str, Mapping], name: str, other: str, measure: str, images: int
                ) -> str:
    found, beside = results[name][measure], results[other][measure]
    width = margin(found, beside, images)
    unclear = ' (no difference that this run can show)' * (abs(found - beside) <= width)
    return f'{found - beside:+.1f} ± {width:.1f} against {other}{unclear}'
