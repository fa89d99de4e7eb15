"""Time a training step of several configs in turn, so that noise disturbs all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from amt_mm.masking import patch_grid
from amt_mm.models import AMTDataPreprocessor

from .comparison import build_model, resolved


class Contestant:
    """A config's model, ready to take steps on synthetic images.

    Guided configs are in their guided phase, with made-up saliency.

    Args:
        config: Config file.
        batch_size: Images a step.
    """

    def __init__(self, config: str, batch_size: int) -> None:
        cfg = resolved(config)
        self.name = Path(config).stem
        self.model = build_model(cfg).train()
        self.device = next(self.model.parameters()).device
        size = self.model.backbone.img_size
        self.images = torch.randn(batch_size, 3, *size, device=self.device)
        preprocessor = self.model.data_preprocessor
        self.generator = None
        if isinstance(preprocessor, AMTDataPreprocessor):
            self.generator = preprocessor.mask_generator
            self.grid = patch_grid(*size, preprocessor.patch_size)
            self.weights = torch.rand(batch_size, self.grid[0] * self.grid[1], device=self.device)

    def loss(self) -> torch.Tensor:
        """Plan and forward pass of one step."""
        if self.generator is None:  # mmpretrain's own, which masks by itself
            return self.model.loss(self.images, None)['loss']
        plan = self.generator(len(self.images), self.grid, self.weights)
        return self.model.loss(self.images, None, plan)['loss']

    def step(self, bf16: bool = False) -> float:
        """Seconds of one plan, forward and backward."""
        self.model.zero_grad(set_to_none=True)
        self._wait()
        start = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            loss = self.loss()
        loss.backward()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()


def race(contestants: Sequence[Contestant], rounds: int, warm_up: int = 2, bf16: bool = False
         ) -> np.ndarray:
    """Let all take a step in each of some rounds.

    Args:
        contestants: The configs.
        rounds: Measured rounds.
        warm_up: Rounds before, not measured.
        bf16: Autocast to bfloat16.

    Returns:
        Seconds, ``(rounds, contestants)``.
    """
    times = [[each.step(bf16) for each in contestants]
             for _ in tqdm(range(warm_up + rounds), desc='rounds', disable=None)]
    return np.array(times[warm_up:])


def ratios(times: np.ndarray) -> np.ndarray:
    """Time of each in units of the first, ``(contestants, )``.

    The median of the ratios within rounds: in one round the machine is nearly the
    same for all, so this spreads less than a ratio of medians.
    """
    return np.median(times / times[:, :1], axis=0)
