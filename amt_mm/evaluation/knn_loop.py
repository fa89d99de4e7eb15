"""KNNTestLoop: k-NN accuracy of a checkpoint, by ``tools/test.py``."""

from __future__ import annotations

from collections.abc import Sequence

from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import LabelledFeatures
from amt_mm.evaluation.dataset_knn import knn_accuracies
from amt_mm.registry import LOOPS

from .feature_loop import FeatureTestLoop


@LOOPS.register_module()
class KNNTestLoop(FeatureTestLoop):
    """Classify the test images by the votes of their nearest training images.

    The protocol of DINO and AttMask: L2-normalised features, votes of weight
    ``exp(cosine / temperature)``; see :func:`amt_mm.evaluation.knn_rank`. The
    measures are ``knn/top1_k20`` and so on, per cent; with more than five classes
    and voters also ``knn/top5_k20``.

    Args:
        *args: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`, as for
            ``train_dataloader``, ``pooling`` and ``fp16``.
        ks: Numbers of voters. Defaults to 10, 20, 100 and 200. A k above the number
            of training images means all of them, and is warned of.
        temperature: Defaults to .07.
        **kwargs: As ``*args``.

    Raises:
        InputError: Numbers that are not positive; and see the parent.
    """

    prefix = 'knn'

    def __init__(self, *args, ks: Sequence[int] = (10, 20, 100, 200), temperature: float = 0.07,
                 **kwargs) -> None:
        # Here, before hours of encoding.
        if not ks or min(ks) < 1:
            raise InputError(f'test_cfg.ks={ks}: give at least one number, each 1 or more')
        if not temperature > 0:
            raise InputError(f'test_cfg.temperature={temperature} must be above 0')
        super().__init__(*args, **kwargs)
        self.ks = tuple(ks)
        self.temperature = temperature

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Accuracies by number of voters."""
        return knn_accuracies(
            train.features[self.pooling], train.labels, test.features[self.pooling], test.labels,
            self.ks, self.temperature, self.device)
