"""UnsupervisedTestLoop: clusters against classes, and measures without labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmengine.runner.amp import autocast
from torch import Tensor

from amt_mm.distributed import from_rank0
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .checks import count_classes
from .cluster_scores import cluster_scores
from .dataset_features import LabelledFeatures, dataset_labels, image_features
from .feature_loop import FeatureTestLoop
from .kmeans import kmeans, nearest
from .label_free_features import label_free_measures


@LOOPS.register_module()
class UnsupervisedTestLoop(FeatureTestLoop):
    """Cluster training images without their labels, and measure the features of test images.

    k-means on normalised features of training images makes as many clusters as there are classes;
    ``unsupervised/nmi``, ``ari`` and ``accuracy`` compare those of the test images with their
    classes (:func:`~amt_mm.evaluation.cluster_scores.cluster_scores`). ``rankme``, ``alignment``
    and ``uniformity`` of the test images read no label
    (:mod:`~amt_mm.evaluation.label_free`).

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`.
        max_train: Maximum number of training images to cluster, drawn at random. Defaults to
            25,600.
        restarts: Starts of k-means. Defaults to 10.
        seed: Seed of draw, clusters and views, whatever the seed of the run. Defaults to 0.

    Raises:
        InputError: A number is below 1, or there are fewer training images than classes; and see
            the parent.
    """

    prefix = 'unsupervised'

    def __init__(self, *args, max_train: int = 25600, restarts: int = 10, seed: int = 0, **kwargs
                 ) -> None:
        if max_train < 1 or restarts < 1:
            raise InputError(f'test_cfg.max_train={max_train}, restarts={restarts}: both must be '
                             '1 or more')
        super().__init__(*args, **kwargs)
        self.max_train = max_train
        self.restarts = restarts
        self.seed = seed
        labels = [dataset_labels(loader.dataset)
                  for loader in (self.train_dataloader, self.dataloader)]
        if not any(part is None for part in labels):  # known before anything is encoded
            count, classes = min(max_train, len(labels[0])), count_classes(*labels)
            if count < classes:
                raise InputError(f'{count} training images cannot make {classes} clusters, one '
                                 'for each class: raise test_cfg.max_train, or add images')

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return agreement with the classes in per cent and the label-free measures."""
        def encode(change: Callable) -> dict[str, Tensor]:
            # In the precision of the whole images.
            with autocast(enabled=self.fp16):
                return image_features(unwrapped(self.runner), self.dataloader, [self.pooling],
                                      'views', change=change)

        return {**from_rank0(lambda: self.agreement(train, test), patient=True),
                **label_free_measures(test.features, encode, self.seed)[self.pooling]}

    def agreement(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Cluster and compare."""
        features = train.features[self.pooling]
        drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(self.seed))
        features = F.normalize(features[drawn[:self.max_train]].to(self.device).double(), dim=1)
        classes = count_classes(train.labels, test.labels)
        centres = kmeans(features, classes, self.restarts, seed=self.seed)
        queries = F.normalize(test.features[self.pooling].to(self.device).double(), dim=1)
        return cluster_scores(nearest(queries, centres)[0].cpu(), test.labels)
