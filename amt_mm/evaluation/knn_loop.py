"""KNNTestLoop: k-NN accuracy of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.dist import is_main_process

from amt_mm.checks import check_numbers
from amt_mm.errors import InputError
from amt_mm.registry import LOOPS

from .dataset_features import LabelledFeatures
from .dataset_knn import knn_ranks, rank_accuracies
from .feature_loop import FeatureTestLoop
from .kept import keep, keep_predictions, shown_rows
from .knn import nearest_images

# The number of neighbours whose predictions are kept: DINO found it best.
_K = 20
# Neighbours that a page shows of an image.
_NEIGHBOURS = 5


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
        check_numbers('test_cfg.ks', ks)
        if not ks or min(ks) < 1:
            raise InputError(f'test_cfg.ks={ks}: give at least one number, each 1 or more')
        if not temperature > 0:
            raise InputError(f'test_cfg.temperature={temperature} must be above 0')
        super().__init__(*args, **kwargs)
        self.ks = tuple(ks)
        self.temperature = temperature

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return the accuracy for each number of neighbours."""
        ranks = knn_ranks(
            train.features[self.pooling], train.labels, test.features[self.pooling], test.labels,
            self.ks, self.temperature, self.device)
        if is_main_process():
            k = _K if _K in ranks else self.ks[0]
            keep_predictions(self.runner, f'{self.prefix}/top1_k{k}', ranks[k][:, 0], test.labels,
                             test.names)
            self._keep_neighbours(train, test)
        return rank_accuracies(ranks, train.labels, test.labels)

    def _keep_neighbours(self, train: LabelledFeatures, test: LabelledFeatures) -> None:
        """Keep the training images that are nearest to some test images."""
        rows = shown_rows(self.dataloader.dataset)
        found, cosines = nearest_images(train.features[self.pooling],
                                        test.features[self.pooling][rows], _NEIGHBOURS)
        sizes = train.labels.bincount(minlength=int(test.labels.max()) + 1)
        keep(self.runner, 'neighbours', rows=rows, found=found.tolist(), cosines=cosines.tolist(),
             labels=test.labels[rows].tolist(), found_labels=train.labels[found].tolist(),
             shares=(sizes[test.labels[rows]] / len(train.labels)).tolist(),
             names=train.names and list(train.names), pooling=self.pooling)
