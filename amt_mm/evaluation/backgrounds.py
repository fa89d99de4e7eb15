"""Accuracy on ImageNet-9, and how much of it the background makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.evaluator import BaseMetric

from amt_mm.errors import InputError
from amt_mm.registry import METRICS


@METRICS.register_module()
class BackgroundsAccuracy(BaseMetric):
    """Accuracy on each variation of ImageNet-9 in per cent, by a classifier of ImageNet-1K.

    Its best class is mapped to one of the 9; a class that none of them contains is wrong, as in the
    authors' evaluation. ``bg_gap`` is the accuracy on ``mixed_same`` less that on ``mixed_rand``
    (Xiao et al., "Noise or Signal", ICLR 2021, section 3), in points. The data set is
    :class:`~amt_mm.datasets.BackgroundsFolder`.

    Args:
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        InputError: The classifier has another number of classes than the mapping.
    """

    default_prefix = 'backgrounds'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Compare predictions with the paths of their images."""
        mapping = self.dataset_meta['to_in9']
        for sample in data_samples:
            scores = sample['pred_score']
            if len(scores) != len(mapping):
                raise InputError(f'the classifier has {len(scores)} classes, and in_to_in9.json '
                                 f'{len(mapping)}: give one of ImageNet-1K')
            variation, _, label, _ = Path(sample['img_path']).parts[-4:]
            self.results.append((variation, mapping[int(scores.argmax())] == int(label[:2])))

    def compute_metrics(self, results: list[tuple[str, bool]]) -> dict[str, float]:
        """Return the accuracies by variation, and the gap."""
        hits: dict[str, list[bool]] = {}
        for variation, hit in results:
            hits.setdefault(variation, []).append(hit)
        found = {name: 100 * sum(part) / len(part) for name, part in sorted(hits.items())}
        if {'mixed_same', 'mixed_rand'} <= set(found):
            found['bg_gap'] = found['mixed_same'] - found['mixed_rand']
        return found
