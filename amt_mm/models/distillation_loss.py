"""Cross-entropy between teacher and student, with centering against collapse."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Center(nn.Module):
    """Running mean of the teacher's logits, subtracted before its softmax (DINO, eq. 4).

    Args:
        num_logits: Number of prototypes K.
        momentum: Share of the old center in an update. Defaults to .9, as in DINO and iBOT.
    """

    def __init__(self, num_logits: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer('mean', torch.zeros(num_logits))

    def sharpen(self, logits: Tensor, temperature: float | Tensor) -> Tensor:
        """Compute the teacher's probabilities from its logits, ``(..., K)`` fp32."""
        return ((at_least_fp32(logits) - self.mean) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def update(self, mean: Tensor) -> None:
        """Update with the mean of a batch over all processes, after the batch has used the center.

        Args:
            mean: Mean of the teacher's logits, over equally many tokens per process, ``(K,)``.
        """
        mean = at_least_fp32(mean)
        all_reduce(mean, op='mean')
        self.mean.lerp_(mean, 1 - self.momentum)


def crop_loss(teacher: Tensor, student: list[Tensor], temperature: float = 0.1) -> Tensor:
    """Compute the [CLS] loss: each student crop against each other global crop (DINO, eq. 3).

    Args:
        teacher: Probabilities of the global crops, ``(G, B, K)``.
        student: Logits of all crops, global ones first in the same order, each ``(B, K)``.
        temperature: Student temperature. Defaults to .1.

    Returns:
        Mean over the ``G (V - 1)`` pairs of V crops and over the batch, scalar.
    """
    total = teacher.sum(dim=0)
    loss = teacher.new_zeros(())
    for view, logits in enumerate(student):
        others = total - teacher[view] if view < len(teacher) else total
        loss = loss + _cross_entropy(others, logits, temperature).mean()
    return loss / (len(teacher) * (len(student) - 1))


def patch_loss(teacher: Tensor, student: Tensor, weights: Tensor, temperature: float = 0.1
               ) -> Tensor:
    """Compute the patch loss: each masked token against the teacher's (iBOT, eq. 1).

    Args:
        teacher: Probabilities of the masked tokens, ``(M, K)``.
        student: Logits of the same tokens, ``(M, K)``.
        weights: :meth:`amt_mm.masking.TokenMask.loss_weights`, ``(M,)``.
        temperature: Student temperature. Defaults to .1.

    Returns:
        Scalar; 0 with zero gradients if nothing is masked.
    """
    return (_cross_entropy(teacher, student, temperature) * weights).sum()


def at_least_fp32(values: Tensor) -> Tensor:
    """Convert half precision to fp32; fp64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _cross_entropy(target: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Sum over prototypes, ``(..., K)`` to ``(...)``, in at least fp32."""
    return -(target * (at_least_fp32(logits) / temperature).log_softmax(dim=-1)).sum(dim=-1)
