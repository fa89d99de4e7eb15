"""List the photographs, run a contestant in a process of its own, and judge what it has learnt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from amt_mm.apis.jobs import started
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError, RunError
from amt_mm.evaluation.dataset_features import LabelledFeatures
from amt_mm.evaluation.judge import measure_features
from amt_mm.json_files import read_json
from lab.race.field import CONTESTANTS
from lab.race.record import FINISHED, records
from lab.race.terms import BATCH

ROOT = Path(__file__).parents[2]
IMAGES, TERMS, RESULT, LOG = 'images.json', 'terms.json', 'result.json', 'log.txt'


@dataclass(frozen=True)
class Race:
    """The terms of all runs.

    Attributes:
        folder: Of the results.
        minutes: Of training, for each contestant.
        every: Seconds of training between two points of a curve.
        python: Interpreter of the environment of the peers.
    """

    folder: Path
    minutes: float
    every: float
    python: Path

    def run_folder(self, name: str, repeat: int) -> Path:
        """Folder of one run of a contestant."""
        return self.folder / name / f'repeat_{repeat}'


def enter_images(race: Race, data: Path) -> None:
    """Write down which photographs are trained on and which held out, as ``ImageFolder`` has it.

    Raises:
        InputError: ``data`` has no classes or too few photographs, or the folder of results has a
            race on other terms.
    """
    parts = {name: ImageFolder(str(data), split=split, skip_unreadable=True, pipeline=[])
             for name, split in (('train', 'train'), ('held_out', 'val'))}
    if not parts['train'].metainfo.get('classes'):
        raise InputError(f'{data} has no class subfolders, so no accuracy can be measured')
    if len(parts['train']) < BATCH:
        raise InputError(f'{data} has {len(parts["train"])} photographs to train on: a race needs '
                         f'{BATCH}, a batch, at least')
    root = data.resolve()
    images = {'folder': str(root)}
    for name, part in parts.items():
        infos = [part.get_data_info(i) for i in range(len(part))]
        images[name] = [os.path.relpath(info['img_path'], data) for info in infos]
        images[f'{name}_labels'] = [int(info['gt_label']) for info in infos]
    terms = dict(minutes=race.minutes, every=race.every)
    for name, found in ((IMAGES, images), (TERMS, terms)):
        file, text = race.folder / name, json.dumps(found, indent=1) + '\n'
        if file.is_file() and file.read_text() != text:
            raise InputError(f'{race.folder} holds a race on other terms (see {file}): use another '
                             'folder for results, or remove it')
        write_text(file, text)


def finished_result(race: Race, name: str, repeat: int) -> dict | None:
    """Result of a finished run, None of another."""
    file = race.run_folder(name, repeat) / RESULT
    return read_json(file) if file.is_file() else None


def run_one(race: Race, name: str, repeat: int) -> None:
    """Let a contestant train, unless it has, and write ``result.json``.

    Its seed is the number of the repeat. It has one thread, and no GPU.

    Raises:
        RunError: It failed.
    """
    folder, contestant = race.run_folder(name, repeat), CONTESTANTS[name]
    if not (folder / FINISHED).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            race.python if contestant.own_environment else sys.executable, '-m',
            f'lab.race.contestants.{contestant.module}', *contestant.arguments,
            '--images', race.folder.resolve() / IMAGES, '--minutes', race.minutes,
            '--every', race.every, '--seed', repeat, '--out', folder.resolve()]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '',
                       'HF_HUB_OFFLINE': '1'}
        with open(folder / LOG, 'w') as log, started(
                list(map(str, command)), cwd=ROOT, env=environment, stdout=log,
                stderr=subprocess.STDOUT) as process:
            status = process.wait()
        if status or not (folder / FINISHED).is_file():
            raise RunError(f'it ended with status {status}, see {folder / LOG}')
    result = dict(contestant=name, repeat=repeat,
                  **read_json(folder / FINISHED),
                  points=judge_run(folder, read_json(race.folder / IMAGES)))
    write_text(folder / RESULT, json.dumps(result, indent=1) + '\n')


def judge_run(folder: Path, images: dict) -> list[dict]:
    """Measure all features that a contestant has recorded, by the k-NN and the probe of ``judge``.

    Args:
        folder: Of the run.
        images: Content of ``images.json``.

    Returns:
        For each record ``minutes`` of training, and ``knn`` and ``linear``, percentages of the
        held-out images.
    """
    labels = {part: torch.tensor(images[f'{part}_labels']) for part in ('train', 'held_out')}
    points = []
    for file in records(folder):
        with np.load(file) as found:
            train, held_out = (
                LabelledFeatures({'mean': torch.from_numpy(found[part])}, rows, None)
                for part, rows in labels.items())
            measures = measure_features(train, held_out)
            points.append(dict(minutes=float(found['seconds']) / 60, knn=measures['knn'],
                               linear=measures['linear_mean']))
    return points
