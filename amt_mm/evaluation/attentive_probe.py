"""Train attentive classifiers on cached patch tokens, at many learning rates in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from .accuracy import accuracy
from .attentive_heads import AIMHeads, AttentiveHeads, EPHeads

KINDS: dict[str, type[AttentiveHeads]] = {'ep': EPHeads, 'aim': AIMHeads}
# Part of the steps in which the learning rate rises.
_WARMUP = 0.1


class Rate(NamedTuple):
    """Settings of AdamW that are tried.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Applies to all parameters but the classifier's bias.
    """

    lr: float
    weight_decay: float


def train_heads(kind: str, tokens: Tensor, labels: Tensor, images: Tensor,
                rates: Sequence[Rate], num_classes: int, queries: int, epochs: int,
                batch_size: int = 256, seed: int = 0, device: torch.device | str = 'cpu',
                progress: str | None = None) -> AttentiveHeads:
    """Train a classifier per rate, all on the same batches.

    AdamW, cross-entropy, a learning rate that rises over a tenth of the steps and falls to 0 as a
    cosine. AdamW rather than the LARS of MAE and EP, whose steps are a fixed share of a weight's
    norm: they reach nothing in the few steps that a small data set has (docs/evaluation.md).

    Args:
        kind: ``'ep'`` or ``'aim'``, see :data:`KINDS`.
        tokens: ``(n, N, D)`` of any floating type, on the CPU; batches are taken from it as
            float32.
        labels: ``(n,)`` integer classes from 0.
        images: ``(m,)``, indices of those to train on.
        rates: What to try.
        num_classes: Number of classes.
        queries: Queries (``'ep'``) or heads of the attention (``'aim'``).
        epochs: Passes over the images.
        batch_size: Images in a batch; the remainder of an epoch, less than one batch, is left out.
            Defaults to 256. Fewer images make a single batch.
        seed: Determines initial values and batches.
        device: Where to train.
        progress: Title of a progress bar. Defaults to None: no bar.

    Returns:
        The classifiers, in evaluation mode.

    Raises:
        InputError: ``queries`` do not divide the width, or there are fewer than two images.
    """
    if len(images) < 2:
        raise InputError(f'{len(images)} training images: a batch norm needs at least two')
    heads = KINDS[kind](len(rates), tokens.shape[-1], queries, num_classes, seed).to(device)
    optimiser = torch.optim.AdamW(
        [dict(params=[p], lr=rate.lr, weight_decay=rate.weight_decay if p.ndim > 1 else 0)
         for i, rate in enumerate(rates) for p in heads.parameters_of(i)])
    batch_size = min(batch_size, len(images))
    steps = epochs * (len(images) // batch_size)
    rising = max(1, round(_WARMUP * steps))
    schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [
        torch.optim.lr_scheduler.LinearLR(optimiser, 1 / rising, total_iters=rising),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - rising))], [rising])
    batches = _batches(images, batch_size, epochs, seed)
    with torch.enable_grad():
        for rows in tqdm(batches, progress, steps, leave=False,
                         disable=None if progress else True):
            logits = heads(tokens[rows].to(device).float())  # (K, B, C)
            wanted = labels[rows].to(device).expand(len(rates), -1)  # (K, B)
            # The sum: each classifier has the gradient of its own mean.
            loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten()) * len(rates)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return heads.eval()


def accuracies(heads: AttentiveHeads, tokens: Tensor, labels: Tensor, images: Tensor,
               batch_size: int = 256) -> list[float]:
    """Return the percentage of the images that each classifier gets right.

    Args:
        heads: From :func:`train_heads`.
        tokens: ``(n, N, D)``.
        labels: ``(n,)`` integer classes.
        images: ``(m,)``, indices of those to classify.
        batch_size: Images at once.
    """
    return [accuracy(found, labels[images])
            for found in predictions(heads, tokens, images, batch_size)]


@torch.no_grad()
def predictions(heads: AttentiveHeads, tokens: Tensor, images: Tensor, batch_size: int = 256
                ) -> Tensor:
    """Return the classes ``(K, m)`` by each classifier; :func:`accuracies` has the arguments."""
    device = heads.biases[0].device
    return torch.cat([heads(tokens[rows].to(device).float()).argmax(dim=-1).cpu()
                      for rows in images.split(batch_size)], dim=1)


def _batches(images: Tensor, batch_size: int, epochs: int, seed: int) -> Iterator[Tensor]:
    """Yield the images of each step, ascending, as a file is read fastest."""
    generator = torch.Generator().manual_seed(seed)
    whole = len(images) - len(images) % batch_size
    for _ in range(epochs):
        order = images[torch.randperm(len(images), generator=generator)]
        for rows in order[:whole].split(batch_size):
            yield rows.sort().values
