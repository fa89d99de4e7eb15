"""The clock of a run, which stands still while features are taken, and the features."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lab.race.entry import Entry, whole_images

FEATURES, FINISHED = 'features', 'finished.json'
_BATCH = 256


class Stopwatch:
    """Seconds of training.

    Args:
        now: Defaults to wall time.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._counted, self._since = now, 0., None

    @property
    def seconds(self) -> float:
        """Counted so far."""
        return self._counted + (0 if self._since is None else self._now() - self._since)

    def start(self) -> None:
        """Count from now on."""
        self._since = self._now()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still, then count on if it was counting."""
        running, self._counted, self._since = self._since is not None, self.seconds, None
        yield
        if running:
            self.start()


class Record:
    """Frozen features of a network in training, written every few seconds of training.

    A feature is the mean, in float32, of the patch tokens of a whole image. Each record is a file
    ``features/<number>.npz`` with ``seconds``, ``train`` and ``held_out``, ``(n, D)`` each.

    Args:
        entry: The terms of the run.
        model: Set to evaluation while features are taken, and back.
        tokens: Returns the patch tokens ``(B, N, D)``, after the final norm, of normalised images
            ``(B, 3, 64, 64)``.
        now: Clock. Defaults to wall time.
    """

    def __init__(self, entry: Entry, model: nn.Module, tokens: Callable[[Tensor], Tensor],
                 now: Callable[[], float] = time.perf_counter) -> None:
        self.entry, self.model, self.tokens = entry, model, tokens
        self.watch, self.steps, self._number, self._due = Stopwatch(now), 0, 0, entry.every
        self._images = {part: whole_images(entry.folder, getattr(entry, part))
                        for part in ('train', 'held_out')}
        self._folder = entry.out / FEATURES
        # Of a run that was stopped.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def begin(self) -> None:
        """Record the untrained network, and start the clock."""
        self._write()
        self.watch.start()

    def step(self) -> None:
        """Count a step of training, and record the network if it is time."""
        self.steps += 1
        if self.watch.seconds >= self._due:
            self._write()
            while self._due <= self.watch.seconds:
                self._due += self.entry.every

    def end(self, batch: int, packages: Sequence[str]) -> None:
        """Record the trained network, and finish the run.

        Args:
            batch: Images of a step.
            packages: Distributions whose versions are written down.
        """
        self._write()
        finished = dict(seconds=self.watch.seconds, steps=self.steps, batch=batch, versions={
            'python': platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages}})
        part = self.entry.out / f'{FINISHED}.part'
        part.write_text(json.dumps(finished, indent=2) + '\n')
        os.replace(part, self.entry.out / FINISHED)

    def _write(self) -> None:
        with self.watch.paused():
            training = self.model.training
            self.model.eval()
            features = {part: self._features(images) for part, images in self._images.items()}
            self.model.train(training)
            np.savez(self._folder / f'{self._number:04d}.npz', seconds=self.watch.seconds,
                     **features)
            self._number += 1

    @torch.no_grad()
    def _features(self, images: Tensor) -> np.ndarray:
        return torch.cat([self.tokens(batch).float().mean(dim=1)
                          for batch in images.split(_BATCH)]).numpy()


def records(folder: Path) -> list[Path]:
    """Files of features of a run, in their order."""
    return sorted((folder / FEATURES).glob('*.npz'))
