"""Records of finished runs, and ``runs.jsonl`` with one line for each."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmpretrain.registry import DATASETS

from amt_mm import __version__
from amt_mm.apis.scalars import scalars
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.datasets import base_dataset

from .planning import Run

_LIST = 'runs.jsonl'


def describe(run: Run, study: str, work_dir: Path, settings: Path,
             step_seconds: float | None) -> dict:
    """Describe a trained run, except for what it measured.

    Args:
        run: The run.
        study: Name of the study.
        work_dir: Its folder.
        settings: File of the run's config.
        step_seconds: Median time of a step.

    Returns:
        ``study``, ``recipe``, ``data_set``, ``seed``, ``epochs``, ``images`` (of the training
        set), ``multiply_adds`` (of the run: three forward passes a step, and refreshes),
        ``relative_step_cost`` and ``relative_cost`` (of a guided step and of the run, relative to
        the baseline), ``seconds`` (of training: median step time times steps, and refreshes),
        ``images_per_second``, ``version``, ``commit`` (None outside a clone; with ``+`` if files
        differ from it), ``config``, ``config_sha256``.
    """
    plan, folder = run.plan, run.folder(work_dir)
    samples, images = _sizes(plan.cfg.train_dataloader.dataset)
    batch = plan.cfg.train_dataloader.batch_size
    seconds = None
    if step_seconds is not None:
        steps = plan.epochs * math.ceil(samples / batch)
        seconds = steps * step_seconds + sum(record.get('saliency/seconds', 0)
                                             for record in scalars(folder))
    return dict(
        study=study, recipe=plan.recipe, data_set=plan.dataset, seed=run.seed,
        epochs=plan.epochs, images=images,
        multiply_adds=plan.cost and images * plan.cost.total,
        relative_step_cost=plan.relative_step, relative_cost=plan.relative_cost,
        seconds=seconds, images_per_second=step_seconds and batch / step_seconds,
        version=__version__, commit=_commit(), config=str(settings.relative_to(work_dir)),
        config_sha256=hashlib.sha256(settings.read_bytes()).hexdigest())


def write_list(records: Sequence[dict], work_dir: Path) -> Path:
    """Rewrite ``runs.jsonl`` atomically with one record per finished run."""
    file = work_dir / _LIST
    write_text(file, ''.join(json.dumps(record) + '\n' for record in records))
    return file


def _sizes(dataset: Config) -> tuple[int, int]:
    return _sizes_of(Config(dict(dataset=dataset)).dump())


@cache
def _sizes_of(text: str) -> tuple[int, int]:
    """Samples per epoch and images of a training set, built once for all seeds."""
    built = DATASETS.build(Config.fromstring(text, '.py').dataset)
    return len(built), len(base_dataset(built))


@cache
def _commit() -> str | None:
    """Commit of the clone that this code runs from, or None."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(['git', *arguments], cwd=folder, check=True, text=True,
                              capture_output=True).stdout.strip()

    try:
        # An installed copy may lie within another repository.
        if not git('ls-files', Path(__file__).name):
            return None
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return None
