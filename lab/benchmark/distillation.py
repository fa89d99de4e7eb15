"""A step of distillation as a whole and in parts, each timed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.hooks.clip_each_hook import clip_each
from amt_mm.hooks.teacher_update_hook import update_teacher
from amt_mm.masking import CropMasking
from amt_mm.models import IBOT
from amt_mm.models.ibot import batch_by_size
from amt_mm.saliency import AttentionTap
from lab.cost.memory import kept_bytes

from .clock import CPUClock, CUDAClock
from .contestant import Contestant


class Work:
    """Work that :func:`~lab.benchmark.racing.race` times as one phase.

    Args:
        name: Of the work.
        device: Where it runs.
        work: What to time.
        before: Untimed preparation of each repetition.
    """

    def __init__(self, name: str, device: torch.device, work: Callable[[], object],
                 before: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.device = device
        self._work = work
        self._before = before

    def step(self, clock: CPUClock | CUDAClock) -> list[float]:
        """Do it once and return its seconds."""
        self._before()
        clock.start()
        self._work()
        clock.mark()
        return clock.seconds()


class DistillationStep(Contestant):
    """Take the steps of :class:`~amt_mm.models.IBOT`, including hooks that compute.

    Gradients are clipped before the optimiser's step, the teacher follows after it. All crops are
    masked by the config's mean ratio: as many tokens as in training on average, in every step.

    Args:
        config: Config file of an IBOT.
        batch_size: Images per step.
        images: See :class:`Contestant`.
        scratch: See there.

    Raises:
        InputError: Another model, or one without masks.
    """

    def __init__(self, config: str, batch_size: int, images: Path, scratch: Path) -> None:
        super().__init__(config, batch_size, images, scratch)
        if not isinstance(self.model, IBOT) or self.model.masking is None:
            raise InputError(f'{config}: its parts are known only for amt_mm.IBOT with masks')
        optimizer = self.optim_wrapper.optimizer
        optimizer.register_step_pre_hook(lambda *_: clip_each(optimizer, 3.0))
        optimizer.register_step_post_hook(lambda *_: update_teacher(self.model, 0.996))
        self.share = fmean(self.model.masking.ratio) * self.model.masking.gate

    def steps(self, strategies: Sequence[str]) -> list[Work]:
        """A whole step with masks of each strategy, preprocessing to the teacher's update."""
        clock = CPUClock()
        return [Work(f'step, {strategy}', self.device, lambda: self.step(clock),
                     partial(self._prepare, strategy)) for strategy in strategies]

    def masks(self, strategies: Sequence[str]) -> list[Work]:
        """Attention, if needed, and masks, for each strategy."""
        whole, tap, _ = self._teacher()
        return [Work(f'masks, {strategy}', self.device, lambda: self.model.make_mask(whole, tap),
                     partial(self._prepare, strategy)) for strategy in strategies]

    def parts(self, strategy: str) -> list[Work]:
        """The step with masks of one strategy, cut into independent parts.

        The input of each part is computed here, once.
        """
        model, step = self.model, self.optim_wrapper
        self._prepare(strategy)
        whole, tap, told = self._teacher()
        local = batch_by_size(self._data()['inputs'][model.num_global:])
        taught, mask = model.run_teacher(whole)
        tokens = model.backbone.encode(whole, mask).detach().requires_grad_()
        seen = [model.backbone.encode(crops)[:, 0].detach().requires_grad_() for crops in local]
        gradient = torch.randn_like(tokens)
        gradients = {parameter: torch.randn_like(parameter)
                     for parameter in model.parameters() if parameter.requires_grad}

        def learn_local() -> None:
            for crops, like in zip(local, seen, strict=True):
                model.backbone.encode(crops)[:, 0].backward(torch.ones_like(like))

        def compare() -> None:
            for tensor in (tokens, *seen):
                tensor.grad = None
            sum(model.compute_losses(taught, tokens, seen, mask).values()).backward()

        def update() -> None:
            step.step()
            step.zero_grad()

        def remember() -> None:
            for parameter, kept in gradients.items():
                parameter.grad = kept

        @torch.no_grad()
        def project() -> None:
            model.teacher.head.project(told if model.patch_weight else told[:, :1])

        forget = partial(self._prepare, strategy)
        pieces = {
            'preprocess': self._data,
            'teacher, global crops': lambda: self._encode(whole),
            "teacher's projection": project,
            'attention and masks': lambda: model.make_mask(whole, tap),
            'student, global crops':
                lambda: model.backbone.encode(whole, mask).backward(gradient),
            'student, local crops': learn_local,
            'head and losses': compare}
        return [*(Work(name, self.device, work, forget) for name, work in pieces.items()),
                Work('clip, optimiser, teacher follows', self.device, update, remember)]

    def kept_bytes(self) -> int:
        """Bytes that the forward pass keeps for the backward pass."""
        return kept_bytes(self.model, lambda: sum(self.model(**self._data(), mode='loss').values()))

    def _prepare(self, strategy: str) -> None:
        """Draw masks by a strategy from now on; clear gradients."""
        self.model.masking = CropMasking(strategy, (self.share, self.share), gate=1.0)
        self.optim_wrapper.zero_grad()

    def _data(self) -> dict:
        return self.model.data_preprocessor(self._batch, training=True)

    def _teacher(self) -> tuple[Tensor, AttentionTap, Tensor]:
        """Global crops, and the output of the teacher's encoder."""
        whole = torch.cat(self._data()['inputs'][:self.model.num_global])
        with AttentionTap(self.model.teacher.backbone) as tap:
            return whole, tap, self._encode(whole)

    @torch.no_grad()
    def _encode(self, whole: Tensor) -> Tensor:
        return self.model.teacher.backbone.encode(whole)
