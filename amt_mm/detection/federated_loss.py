"""Federated loss for data sets whose images are labelled with some of the classes only."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS, MODELS


@MODELS.register_module()
class FederatedLoss(nn.Module):
    """Binary cross entropy over the present and some sampled classes (for ``loss_cls``).

    LVIS does not tell for most classes whether they occur in an image. Each step, the loss covers
    the classes in the batch and, up to ``num_sampled`` in total, others sampled without
    replacement with probability proportional to ``n_c ** power``, where n_c is the number of
    training images with class c. The remaining classes do not count as background.

    A box has one sigmoid per class and none for background. The loss is summed over classes
    and averaged over boxes.

    Source: Zhou et al., Probabilistic two-stage detection, 2021, appendix; ViTDet uses it for
    LVIS with 50 classes and the square root, AMT does not say. Initialise the bias of the head
    with ``-log(99)``, see ``configs/mmdet/lvis/*federated*``.

    :class:`FederatedCountsHook` sets the counts, checkpoints keep them.

    Args:
        num_classes: Number of classes K, without background.
        num_sampled: Minimum number of classes in the loss per step.
        power: Exponent of the image counts.
        loss_weight: Factor of the loss.
    """

    # Read by mmdet's box heads.
    custom_cls_channels = custom_activation = custom_accuracy = True

    def __init__(self, num_classes: int, num_sampled: int = 50, power: float = 0.5,
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_sampled = num_sampled
        self.power = power
        self.loss_weight = loss_weight
        self.register_buffer('image_counts', torch.zeros(num_classes))

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the number of logits of the head: K, background has none."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Convert logits ``(N, K)`` to scores ``(N, K + 1)``; that of background is 0."""
        return F.pad(cls_score.sigmoid(), (0, 1))

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the percentage of objects whose class has the highest logit, 0 without objects."""
        objects = labels < self.num_classes
        right = (cls_score.argmax(1) == labels) & objects
        return {'acc_classes': 100 * right.sum() / objects.sum().clamp(min=1)}

    def forward(self, cls_score: Tensor, labels: Tensor, label_weights: Tensor | None = None,
                avg_factor: float | None = None, reduction_override: str | None = None) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits, ``(N, K)``.
            labels: Class of each box, K for background, ``(N,)``.
            label_weights: Weight of each box, ``(N,)``. Defaults to 1.
            avg_factor: Divisor. Defaults to N.
            reduction_override: Argument of mmdet; only the mean is supported.

        Raises:
            InputError: The image counts were not set.
        """
        if reduction_override not in (None, 'mean'):
            raise InputError(f'FederatedLoss has no reduction {reduction_override!r}, only mean')
        targets = F.one_hot(labels, self.num_classes + 1)[:, :-1].to(cls_score)
        losses = F.binary_cross_entropy_with_logits(cls_score, targets, reduction='none')
        losses = losses[:, self.sample_classes(labels)].sum(1)
        if label_weights is not None:
            losses = losses * label_weights
        return self.loss_weight * losses.sum() / (avg_factor or len(labels))

    def sample_classes(self, labels: Tensor) -> Tensor:
        """Sample the classes of the loss.

        Args:
            labels: Class of each box, K for background, ``(N,)``.

        Returns:
            Unique classes, those of ``labels`` and sampled ones, ``(max(num_sampled, present),)``;
            fewer if fewer have any image.

        Raises:
            InputError: The image counts were not set.
        """
        weights = self.image_counts ** self.power
        if not weights.any():
            raise InputError('the image counts of FederatedLoss are not set: add '
                             "dict(type='amt_mm.FederatedCountsHook') to custom_hooks")
        present = labels[labels < self.num_classes].unique()
        weights = weights.index_fill(0, present, 0)
        missing = min(self.num_sampled - len(present), int(weights.count_nonzero()))
        if missing <= 0:
            return present
        return torch.cat([present, torch.multinomial(weights, missing)])


@HOOKS.register_module()
class FederatedCountsHook(Hook):
    """Set the image counts of every :class:`FederatedLoss` before training.

    The training set provides them as ``metainfo['image_counts']``, as
    :class:`amt_mm.detection.instances.LVISInstances` does.

    Raises:
        InputError: The model has no such loss, or another number of classes.
    """

    def before_train(self, runner: Runner) -> None:
        """Copy the counts."""
        counts = torch.tensor(runner.train_dataloader.dataset.metainfo['image_counts'])
        losses = [m for m in unwrapped(runner).modules() if isinstance(m, FederatedLoss)]
        if not losses:
            raise InputError('FederatedCountsHook: the model has no amt_mm.FederatedLoss; remove '
                             'the hook from custom_hooks')
        for loss in losses:
            if len(counts) != loss.num_classes:
                raise InputError(f'train_dataloader.dataset has {len(counts)} classes, but '
                                 f'FederatedLoss has {loss.num_classes}: set '
                                 f'loss_cls.num_classes={len(counts)}')
            loss.image_counts.copy_(counts)
