"""KNNTestLoop: k-NN accuracy of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from amt_mm.errors import InputError
from amt_mm.registry import LOOPS

from .dataset_features import LabelledFeatures
from .dataset_knn import knn_accuracies
from .feature_loop import FeatureTestLoop


@LOOPS.register_module()
class KNNTestLoop(FeatureTestLoop):
    """Classify the test images by the votes of their nearest training images.

    The protocol of DINO and AttMask, see :func:`amt_mm.evaluation.knn_rank`. It reports
    ``knn/top1_k20`` and so on in per cent; with five neighbours and more than five classes also
    ``knn/top5_k20``.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`.
        ks: Numbers of neighbours. Defaults to 10, 20, 100 and 200. A k above the number of
            training images uses all of them, with a warning.
        temperature: Defaults to .07.

    Raises:
        InputError: A number is not positive; and see the parent.
    """

    prefix = 'knn'

    def __init__(self, *args, ks: Sequence[int] = (10, 20, 100, 200), temperature: float = 0.07,
                 **kwargs) -> None:
        if not ks or min(ks) < 1:
            raise InputError(f'test_cfg.ks={ks}: give at least one number, each 1 or more')
        if not temperature > 0:
            raise InputError(f'test_cfg.temperature={temperature} must be above 0')
        super().__init__(*args, **kwargs)
        self.ks = tuple(ks)
        self.temperature = temperature

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return the accuracy for each number of neighbours."""
        return knn_accuracies(
            train.features[self.pooling], train.labels, test.features[self.pooling], test.labels,
            self.ks, self.temperature, self.device)
