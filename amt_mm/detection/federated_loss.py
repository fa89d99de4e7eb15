"""Federated loss for data sets of which an image is labelled with some classes only."""

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
    """Binary cross entropy over the classes at hand and a draw of others (for ``loss_cls``).

    LVIS does not say of most classes whether they are in an image. In each step only the
    classes of the batch's objects and, up to ``num_sampled`` in all, others drawn without
    replacement learn; of the rest, nothing is taken for background. Class c is drawn with
    a probability proportional to ``n_c ** power``, n_c being the training images with it.

    A box has one sigmoid a class and none for background. The loss is summed over classes
    and averaged over boxes.

    Source: Zhou et al., Probabilistic two-stage detection, 2021, appendix; with 50 classes
    and the square root ViTDet uses it for LVIS, AMT does not say. Begin with a bias of
    ``-log(99)`` in the head, see configs/mmdet/lvis/*federated*.

    The counts come from :class:`FederatedCountsHook` and are kept in checkpoints.

    Args:
        num_classes: Classes K, without background.
        num_sampled: Classes that learn in a step, at least; more if the batch has more.
        power: Of a class's count of images, see above.
        loss_weight: Factor of the loss.
    """

    # What mmdet's box heads ask a loss for.
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
        """Return the logits that the head gives: K, background has none."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Turn logits ``(N, K)`` into scores ``(N, K + 1)``; background's is 0."""
        return F.pad(cls_score.sigmoid(), (0, 1))

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the percentage of objects whose class has the highest logit.

        0 where there is no object.
        """
        objects = labels < self.num_classes
        right = (cls_score.argmax(1) == labels) & objects
        return {'acc_classes': 100 * right.sum() / objects.sum().clamp(min=1)}

    def forward(self, cls_score: Tensor, labels: Tensor, label_weights: Tensor | None = None,
                avg_factor: float | None = None, reduction_override: str | None = None) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits, ``(N, K)``.
            labels: Class of each box, K for background, ``(N,)``.
            label_weights: Weight of each box, ``(N,)``. By default 1.
            avg_factor: Divisor; N by default.
            reduction_override: mmdet's argument; only the mean is offered.

        Returns:
            A number.

        Raises:
            InputError: The counts of images were never set.
        """
        if reduction_override not in (None, 'mean'):
            raise InputError(f'FederatedLoss gives the mean, not {reduction_override!r}')
        targets = F.one_hot(labels, self.num_classes + 1)[:, :-1].to(cls_score)
        losses = F.binary_cross_entropy_with_logits(cls_score, targets, reduction='none')
        losses = losses[:, self.sample_classes(labels)].sum(1)
        if label_weights is not None:
            losses = losses * label_weights
        return self.loss_weight * losses.sum() / (avg_factor or len(labels))

    def sample_classes(self, labels: Tensor) -> Tensor:
        """Draw the classes that learn.

        Args:
            labels: Class of each box, K for background, ``(N,)``.

        Returns:
            Classes of ``labels`` and of the draw, each once, ``(max(num_sampled, present),)``;
            fewer where fewer have any image.

        Raises:
            InputError: The counts of images were never set.
        """
        weights = self.image_counts ** self.power
        if not weights.any():
            raise InputError('FederatedLoss does not know how many images each class has: add '
                             "dict(type='amt_mm.FederatedCountsHook') to custom_hooks")
        present = labels[labels < self.num_classes].unique()
        weights = weights.index_fill(0, present, 0)
        missing = min(self.num_sampled - len(present), int(weights.count_nonzero()))
        if missing <= 0:
            return present
        return torch.cat([present, torch.multinomial(weights, missing)])


@HOOKS.register_module()
class FederatedCountsHook(Hook):
    """Tell every :class:`FederatedLoss` in how many training images each class is.

    The training set gives them as ``metainfo['image_counts']``, as
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
                raise InputError(f'train_dataloader.dataset has {len(counts)} classes, '
                                 f'FederatedLoss is made for {loss.num_classes}: set '
                                 f'loss_cls.num_classes={len(counts)}')
            loss.image_counts.copy_(counts)
