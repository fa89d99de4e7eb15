"""What a contestant is given: photographs, minutes, a seed and a folder.

The environment of the peers has torch, torchvision, Pillow and numpy, and not the stack of amt_mm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from lab.race.terms import MEAN, PIXELS, STD

# Steps on weights that nobody keeps, to size a schedule; the first ones are not counted.
TIMED_STEPS, _WARM_UP = 16, 3


@dataclass(frozen=True)
class Entry:
    """The terms of one run.

    Attributes:
        folder: Folder of the photographs.
        train: Files to train on, relative to it.
        held_out: Files that nothing is trained on, relative to it.
        minutes: Of training.
        every: Seconds of training between two records of features.
        seed: Of everything random.
        out: Folder of the run.
    """

    folder: Path
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    minutes: float
    every: float
    seed: int
    out: Path

    @property
    def seconds(self) -> float:
        """Training time."""
        return 60 * self.minutes


def parse_entry(parser: argparse.ArgumentParser | None = None,
                argv: Sequence[str] | None = None) -> tuple[Entry, argparse.Namespace]:
    """Parse the command line of a contestant.

    Args:
        parser: With arguments of the contestant's own. Defaults to None: it has none.
        argv: Defaults to None: that of the process.

    Returns:
        The entry, and all arguments.
    """
    parser = parser or argparse.ArgumentParser()
    parser.add_argument('--images', type=Path, required=True,
                        help='images.json of lab.race: folder, train, held_out')
    parser.add_argument('--minutes', type=float, required=True, help='of training')
    parser.add_argument('--every', type=float, required=True,
                        help='seconds of training between two records of features')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    args = parser.parse_args(argv)
    images = json.loads(args.images.read_text())
    return Entry(Path(images['folder']), tuple(images['train']), tuple(images['held_out']),
                 args.minutes, args.every, args.seed, args.out), args


class Photographs(Dataset):
    """Photographs of a folder as RGB, read anew each time.

    Args:
        folder: The folder.
        files: Relative to it.
        transform: Applied to the Pillow image.
    """

    def __init__(self, folder: Path, files: Sequence[str],
                 transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths = [os.path.join(folder, file) for file in files]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(ImageOps.exif_transpose(image).convert('RGB'))


def normalised() -> list[v2.Transform]:
    """The end of each pipeline: a float tensor ``(3, H, W)``, normalised."""
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


def whole_images(folder: Path, files: Sequence[str]) -> Tensor:
    """Read whole images at 64 x 64 pixels: ``(n, 3, 64, 64)``, normalised."""
    resized = v2.Compose([
        v2.Resize((PIXELS, PIXELS), v2.InterpolationMode.BICUBIC, antialias=True), *normalised()])
    return torch.stack(list(map(Photographs(folder, files, resized).__getitem__,
                                range(len(files)))))


def timed(step: Callable[[], object]) -> list[float]:
    """Take the steps that size a schedule, loading included; say when each ended, in seconds."""
    marks = []
    for _ in range(TIMED_STEPS):
        step()
        marks.append(time.perf_counter())
    return marks


def steps_in(seconds: float, marks: Sequence[float]) -> int:
    """How many steps fit into a time, at least one.

    Args:
        seconds: The time.
        marks: When steps ended, in seconds; the median step counts.
    """
    step = statistics.median(end - begin for begin, end in itertools.pairwise(marks[_WARM_UP:]))
    return max(1, round(seconds / step))
