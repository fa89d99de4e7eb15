"""LowShotTestLoop: accuracy from a few labelled images a class, by ``tools/test.py``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_dist_info
from tqdm import tqdm

from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import LabelledFeatures
from amt_mm.evaluation.drawing import check_enough
from amt_mm.evaluation.low_shot import low_shot_accuracy
from amt_mm.registry import LOOPS

from .feature_loop import FeatureTestLoop


@LOOPS.register_module()
class LowShotTestLoop(FeatureTestLoop):
    """Classify the test images from 1, 5, 10 and 20 training images a class.

    The protocol of AttMask; see
    :func:`amt_mm.evaluation.low_shot.low_shot_accuracy`. The measures are
    ``lowshot/top1_5shot`` and so on, the mean over the draws, per cent, and, of two
    draws or more, ``lowshot/top1_5shot_std``, their standard deviation (with n - 1).

    Args:
        *args: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`, as for
            ``train_dataloader``, ``pooling`` and ``fp16``.
        shots: Images a class.
        draws: Draws of training images for each. Defaults to 5.
        classifier: ``'knn'`` or ``'linear'``. Defaults to ``'knn'``, AttMask's.
        seed: Of the draws, which follow from it and the labels alone: they are the
            same for all checkpoints, whatever the seed of the run. Defaults to 0.
        **kwargs: As ``*args``.

    Raises:
        InputError: Numbers that are not positive or an unknown classifier; when
            run, a class with fewer images than ``shots``; and see the parent.
    """

    prefix = 'lowshot'

    def __init__(self, *args, shots: Sequence[int] = (1, 5, 10, 20), draws: int = 5,
                 classifier: str = 'knn', seed: int = 0, **kwargs) -> None:
        if not shots or min(shots) < 1 or draws < 1:
            raise InputError(f'test_cfg.shots={shots}, draws={draws}: all must be 1 or more')
        if classifier not in ('knn', 'linear'):
            raise InputError(f"test_cfg.classifier={classifier!r} is unknown: use 'knn' or "
                             "'linear'")
        super().__init__(*args, **kwargs)
        self.shots = tuple(shots)
        self.draws = draws
        self.classifier = classifier
        self.seed = seed

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Mean and standard deviation by number of images a class."""
        # Here, so that all processes stop, not only the one whose draw it is.
        check_enough(train.labels, max(self.shots), train.names)
        rank, world_size = get_dist_info()
        queries = test.features[self.pooling].to(self.device)
        found = torch.zeros(len(self.shots), self.draws, dtype=torch.float64, device=self.device)
        tasks = [(i, draw) for i in range(len(self.shots)) for draw in range(self.draws)]
        for i, draw in tqdm(tasks[rank::world_size], desc='draws', leave=False,
                            disable=None if rank == 0 else True):
            found[i, draw] = low_shot_accuracy(
                train.features[self.pooling], train.labels, queries, test.labels, self.shots[i],
                (self.seed, draw), self.classifier, train.names)
        all_reduce(found)
        result = {}
        for shots, accuracies in zip(self.shots, found.cpu(), strict=True):
            result[f'top1_{shots}shot'] = float(accuracies.mean())
            if self.draws > 1:
                result[f'top1_{shots}shot_std'] = float(accuracies.std())
        return result
