"""Turn a study into the configs to train, with their epochs and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmengine.config import Config

from amt_mm.apis.comparison import check_comparable, finished
from amt_mm.config.options import check_options
from amt_mm.config.reading import read_config
from amt_mm.errors import InputError
from lab.cost.cost import CostUnknown
from lab.cost.refresh_cost import RunCost, training_cost, with_schedule

from .schedule import scaled_schedule
from .study_file import Recipe, Study, folder_name


@dataclass(frozen=True)
class Plan:
    """One recipe on one data set, for all seeds.

    Attributes:
        dataset: Name of the data set.
        recipe: Name of the recipe.
        cfg: The config without the seed.
        cost: Per image of the data set; None if the model's cost is unknown.
        baseline: The baseline's cost on this data set.
    """

    dataset: str
    recipe: str
    cfg: Config
    cost: RunCost | None
    baseline: RunCost | None

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        return self.cfg.train_cfg.max_epochs

    @property
    def relative_step(self) -> float | None:
        """Multiply-adds of a step of the guided phase relative to the baseline's."""
        return self.cost and self.baseline and self.cost.step / self.baseline.step

    @property
    def relative_cost(self) -> float | None:
        """Multiply-adds of the whole run, refreshes included, relative to the baseline's."""
        return self.cost and self.baseline and self.cost.total / self.baseline.total


@dataclass(frozen=True)
class Run:
    """One training: a plan and a seed."""

    plan: Plan
    seed: int

    @property
    def name(self) -> str:
        """Name in messages."""
        return f'{self.plan.dataset}, {self.plan.recipe}, seed {self.seed}'

    @property
    def cfg(self) -> Config:
        """The config with the seed."""
        cfg = deepcopy(self.plan.cfg)
        cfg.merge_from_dict({'randomness.seed': self.seed})
        return cfg

    def folder(self, work_dir: Path) -> Path:
        """Work folder of the run."""
        return (work_dir / folder_name(self.plan.dataset) / folder_name(self.plan.recipe)
                / f'seed_{self.seed}')


def plan_study(study: Study) -> list[Plan]:
    """Resolve each recipe on each data set and choose its epochs.

    Args:
        study: From :func:`~lab.study.study_file.read_study`.

    Returns:
        Data set by data set, the baseline first.

    Raises:
        InputError: A config cannot be merged, built, evaluated or scaled to the baseline's cost;
            the message names recipe and data set.
    """
    # Reading mmpretrain's bases takes half of the time.
    plans, read = [], cache(read_config)
    for dataset, base in study.datasets.items():
        baseline = None
        for recipe in study.recipes.values():
            try:
                cfg = merged(base, recipe, study.options, read)
                check_comparable(base, cfg)
                cost = _cost(cfg, recipe)
                if recipe.name == study.baseline:
                    baseline = cost
                elif recipe.share is not None:
                    cfg, cost = at_cost(cfg, cost, recipe.share * baseline.total)
            except InputError as error:
                raise InputError(f'recipe {recipe.name!r} on {dataset}: {error}') from error
            plans.append(Plan(dataset, recipe.name, cfg, cost, baseline))
    return plans


def grid(plans: Sequence[Plan], seeds: Iterable[int]) -> list[Run]:
    """List all runs, seed by seed: a study stopped early compares recipes over fewer seeds."""
    return [Run(plan, seed) for seed in seeds for plan in plans]


def merged(base: str, recipe: Recipe, options: dict | None = None,
           read: Callable[[str], Config] = read_config) -> Config:
    """Merge a config: base, overlay files, options of the study and of the recipe, shares.

    Args:
        base: Config of the data set.
        recipe: The recipe.
        options: The study's; the recipe's win.
        read: Reads a file.
    """
    cfg = deepcopy(read(base))
    for file in recipe.overlay:
        cfg.merge_from_dict(read(file).to_dict())
    check_options(cfg, {**(options or {}), **recipe.options, **recipe.shares}, 'option')
    try:
        cfg.merge_from_dict({**(options or {}), **recipe.options})
        check_comparable(base, cfg)
        cfg.merge_from_dict({key: max(math.ceil(share), _rounded(share * cfg.train_cfg.max_epochs))
                             for key, share in recipe.shares.items()})
    except (KeyError, TypeError, AssertionError, AttributeError) as error:
        raise InputError(f'options do not fit the config: {error.args[0]}') from error
    return finished(cfg)


def at_cost(cfg: Config, cost: RunCost, total: float) -> tuple[Config, RunCost]:
    """Choose the epochs at which a run costs as much as another one.

    Args:
        cfg: A resolved config.
        cost: Its cost at its own epochs.
        total: Multiply-adds per image of the data set to reach.

    Returns:
        The config scaled to the number of epochs with the nearest cost (the fewer in a tie), and
        its cost.

    Raises:
        InputError: Less than one epoch, or a schedule that cannot be scaled.
    """
    epochs = max(1, _rounded(cfg.train_cfg.max_epochs * total / cost.total))

    def at(number: int) -> tuple[Config, RunCost]:
        scaled = scaled_schedule(cfg, number)
        return scaled, with_schedule(cost, scaled)

    def off(number: int) -> float:
        return abs(at(number)[1].total - total)

    # Warm-up epochs and refreshes are whole, so cost is not quite proportional to epochs.
    while off(epochs + 1) < off(epochs):
        epochs += 1
    while epochs > 1 and off(epochs - 1) <= off(epochs):
        epochs -= 1
    return at(epochs)


def _cost(cfg: Config, recipe: Recipe) -> RunCost | None:
    try:
        return training_cost(cfg)
    except CostUnknown:
        if recipe.share is not None:
            raise
        return None


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
