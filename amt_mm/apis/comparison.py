"""Train configs over seeds, evaluate each encoder, and compare the results."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from amt_mm.checkpoints.newest import has_begun
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config.check_settings import check_settings
from amt_mm.config.options import check_options
from amt_mm.config.overlay import apply_overlay
from amt_mm.config.reading import merge_options, read_config
from amt_mm.config_parts import class_name
from amt_mm.errors import InputError
from amt_mm.hooks.model_card import CARD, add_figures
from amt_mm.json_files import read_figures

from .claims import check_claim, claim, without_speed
from .image_identity import image_identity
from .jobs import run_tool
from .judging import MEASURES_FILE, judge_in_a_process, judge_into
from .scalars import scalars

# Measures that differ between seeds, in the order of the table, with their headings.
MEASURES = {
    'knn': 'k-NN, %',
    'linear_mean': 'linear on mean token, %',
    'linear_cls': 'linear on [CLS], %',
    'attention_on_object': 'attention on object, %',
    'object_area': 'object area, %',
    'seconds_per_step': 's a step',
}
# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; more use the last.
_T95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
        2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
        2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423)
_RESULT = 'result.json'
TOKENS = {'encoder_tokens': 'encoder tokens', 'decoder_tokens': 'decoder tokens'}


def run(config: str, seed: int, work_dir: Path, options: Mapping | None = None,
        threads: int | None = None, show: Sequence[str] | None = None,
        encoder: str | None = None) -> dict:
    """Train one config with one seed, unless that was done, and evaluate its encoder.

    Training and evaluation are separate processes (``tools/train.py``, ``tools/judge.py``);
    training is resumed if it was interrupted. The merged config is stored in ``settings`` of
    ``work_dir``: a folder serves one config only, so no result is mistaken for another's.

    Args:
        config: Config file.
        seed: Random seed of training.
        work_dir: Folder of this run; ``result.json`` there marks it as finished
            (``result_student.json`` and so on of a chosen encoder).
        options: Entries as for ``--cfg-options``.
        threads: See :func:`~amt_mm.apis.jobs.run_tool`.
        show: See :func:`~amt_mm.apis.jobs.run_tool`.
        encoder: See :func:`~amt_mm.apis.judging.judge_checkpoint`.

    Returns:
        The measures of this run.

    Raises:
        InputError: ``work_dir`` holds a run of another config, training refused its input, or
            there is no such encoder.
        RuntimeError: Training failed.
    """
    cfg = resolved(config, {**(options or {}), 'randomness.seed': seed})
    check_comparable(config, cfg)
    return run_resolved(cfg, work_dir, threads, show, encoder)


def run_resolved(cfg: Config, work_dir: Path, threads: int | None = None,
                 show: Sequence[str] | None = None, encoder: str | None = None,
                 judge_here: bool = False) -> dict:
    """As :func:`run`, of a resolved config; the result belongs to the images, too.

    Images are known by names, order, labels and sizes of their files. ``judge_here`` evaluates in
    this process, which saves starting one, but only one at a time.
    """
    settings = claim_with_images(cfg, work_dir)
    result_file = work_dir / (_RESULT if encoder is None else f'result_{encoder}.json')
    if result_file.is_file():
        return read_figures(result_file)
    checkpoint = train(cfg, settings, work_dir, threads=threads, show=show)
    measures = (judge_into(work_dir, cfg, checkpoint, encoder) if judge_here else
                judge_in_a_process(work_dir, settings, checkpoint, encoder, threads))
    write_text(result_file, json.dumps(
        {'seed': cfg.randomness.seed, **measures, 'seconds_per_step': seconds_per_step(work_dir)},
        indent=2))
    if encoder is None:
        images = f', {measures["test_images"]} test images' if 'test_images' in measures else ''
        add_figures(work_dir / CARD, [
            f'{heading.removesuffix(", %")}: {measures[name]:.1f} % (`tools/judge.py`{images})'
            for name, heading in MEASURES.items()
            if heading.endswith(', %') and measures.get(name) is not None])
    return read_figures(result_file)


def train_resolved(cfg: Config, work_dir: Path, threads: int | None = None,
                   show: Sequence[str] | None = None) -> None:
    """The training of :func:`run_resolved` alone, which then has only to evaluate."""
    settings = claim_with_images(cfg, work_dir)
    if not (work_dir / _RESULT).is_file():
        train(cfg, settings, work_dir, threads=threads, show=show)


def untrained(cfg: Config, work_dir: Path, checkpoint: Path | str = 'none') -> dict:
    """Evaluate the encoder of a config before training, unless that was done.

    Args:
        cfg: The resolved config; its seed initialises the encoder.
        work_dir: Folder of the result.
        checkpoint: What training starts from. Defaults to ``'none'``: random weights.

    Returns:
        The measures.

    Raises:
        InputError: ``work_dir`` holds the result of another config or of other images.
    """
    claim_with_images(cfg, work_dir)
    measures = work_dir / MEASURES_FILE
    return read_figures(measures) if measures.is_file() else judge_into(work_dir, cfg, checkpoint)


def claim_with_images(cfg: Config, work_dir: Path) -> Path:
    """As :func:`~amt_mm.apis.claims.claim`, for a config on the images that it has now.

    The folder stays claimed if it, the images or the checkpoint to start from are moved.
    """
    return claim(work_dir, _with_images(cfg), partial(without_places, cfg))


def check_claim_with_images(cfg: Config, work_dir: Path) -> bool:
    """As :func:`~amt_mm.apis.claims.check_claim`, of what :func:`claim_with_images` claims."""
    return check_claim(work_dir, _with_images(cfg), partial(without_places, cfg))


def without_places(cfg: Config, part: Any) -> Any:
    """Leave out where a run has its files, which are known by what they are, and how it loads.

    Args:
        cfg: The resolved config of the run.
        part: Its settings, or those of an earlier run that may be the same.
    """
    return without_speed(part, lambda section: {
        key: value for key, value in section.items() if not _is_place(cfg, section, key)})


def _is_place(cfg: Config, part: Mapping, key: str) -> bool:
    if key == 'data_root':
        # A folder that is still there has not moved; others may have names and sizes in common.
        return (part[key] == cfg.train_dataloader.dataset.get(key)
                or not os.path.exists(str(part[key])))
    if key == 'checkpoint':
        # With its digest beside it.
        return class_name(part) == 'PretrainedBackboneHook' and 'pretrained' in cfg
    return key == 'folder' and class_name(part) == 'LoadReducedImage'


def _with_images(cfg: Config) -> Config:
    cfg = deepcopy(cfg)
    cfg.images = {'pre-training': image_identity(cfg.train_dataloader.dataset),
                  **{part: image_identity(cfg.probe[part]) for part in ('train', 'test')}}
    return cfg


def train(cfg: Config, settings: Path, work_dir: Path, **how) -> Path:
    """Train in a separate process, unless that was done; an interrupted run is resumed.

    Args:
        cfg: The resolved config.
        settings: Its file, from :func:`~amt_mm.apis.claims.claim`.
        work_dir: Folder of the run.
        **how: Of :func:`~amt_mm.apis.jobs.run_tool`, which says what is raised.

    Returns:
        The checkpoint of the last epoch.
    """
    checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not checkpoint.is_file():
        resume = ['--resume'] if has_begun(work_dir) else []
        run_tool('train', [settings], resume, work_dir, **how)
    return checkpoint


def check_comparable(config: str, cfg: Config) -> None:
    """Refuse a config that could be trained but not evaluated.

    Args:
        config: Its file, for the message.
        cfg: The resolved config.

    Raises:
        InputError: No ``probe``, or training that does not count epochs.
    """
    if 'probe' not in cfg:
        raise InputError(f'{config} has no `probe`, the labelled images for evaluation: '
                         'see configs/_base_/datasets/clothing_64px.py')
    if 'max_epochs' not in cfg.train_cfg:
        raise InputError(f'{config} has no train_cfg.max_epochs: runs are compared by epochs')


def resolved(config: str, options: Mapping[str, str] | None = None) -> Config:
    """Read a config (a file or ``PACKAGE::...``), apply options and overlay, enter its scope.

    Raises:
        InputError: Among others, nothing reads an option.
    """
    cfg = read_config(config)
    check_options(cfg, options or {}, 'option')
    merge_options(cfg, options or {})
    return finished(cfg)


def finished(cfg: Config) -> Config:
    """Enter the scope of a config and apply its overlay, in place.

    Raises:
        InputError: An overlay that does not fit, or a setting that cannot be.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    # Before the overlay changes sections that must be some, and after, since it sets others.
    check_settings(cfg)
    cfg = apply_overlay(cfg)
    check_settings(cfg)
    return cfg


def seconds_per_step(work_dir: Path) -> float | None:
    """Median time of a step over the second half of training, from MMEngine's scalars."""
    times = [record['time'] for record in scalars(work_dir) if 'time' in record]
    return statistics.median(times[len(times) // 2:]) if times else None


def summarise(results: Sequence[Mapping]) -> dict[str, str | float]:
    """Mean and, from two seeds on, standard deviation of each measure, as table cells."""
    cells: dict[str, str | float] = {}
    for name in MEASURES:
        values = [result[name] for result in results if result.get(name) is not None]
        digits = 3 if name == 'seconds_per_step' else 1
        if len(values) > 1:
            cells[name] = (f'{statistics.mean(values):.{digits}f} '
                           f'± {statistics.stdev(values):.{digits}f}')
        elif values:
            cells[name] = f'{values[0]:.{digits}f}'
    for name in TOKENS:
        cells[name] = results[0].get(name)
    return cells


def paired_differences(results: Sequence[Mapping], reference: Sequence[Mapping]
                       ) -> dict[str, str]:
    """Mean difference to another recipe, paired by seed, with its 95 % confidence interval.

    Args:
        results: Measures of a recipe, one per seed.
        reference: Those of the other, of the same seeds in the same order.

    Returns:
        Accuracies as table cells, ``'-3.0 ± 2.5'``; empty for a single seed.
    """
    cells = {}
    for name in ('knn', 'linear_mean', 'linear_cls', 'attention_on_object'):
        if len(results) < 2 or any(each.get(name) is None for each in (*results, *reference)):
            continue
        differences = [one[name] - other[name]
                       for one, other in zip(results, reference, strict=True)]
        mean, width = interval(differences)
        cells[name] = f'{mean:+.1f} ± {width:.1f}'
    return cells


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Mean of at least two differences, and half the width of its 95 % confidence interval.

    Student's t, for independent and normally distributed differences.
    """
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), _T95[min(len(differences) - 1, len(_T95)) - 1] * error
