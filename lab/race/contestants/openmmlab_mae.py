"""Our recipes, sized as ``amt pretrain --minutes`` sizes them, and mmpretrain's MAE.

mmpretrain's has its own classes, masks, image loading and runner, and the batch, rate and warm-up
of the baseline in configs/studies/recommended.py.
"""

from __future__ import annotations

import argparse
from copy import deepcopy

import amt_mm.registry  # noqa: F401  (first: makes mmpretrain importable)

# isort: split
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.apis import launch
from amt_mm.apis.comparison import finished
from amt_mm.apis.pretraining import base_config, crops_in, put_recipe
from amt_mm.config.batch_and_epochs import recommended_options
from amt_mm.config.reading import merge_options
from amt_mm.evaluation.dataset_features import whole_image_tokens
from amt_mm.names import RECIPES
from lab.race.entry import Entry, parse_entry
from lab.race.record import Record
from lab.race.terms import BATCH, RATE

STOCK = 'mmpretrain'
_PACKAGES = ('onedl-mmpretrain', 'onedl-mmengine', 'onedl-mmcv', 'torch')


class RecordHook(Hook):
    """Records the encoder in training."""

    # After all that belongs to the step.
    priority = 'LOWEST'

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def before_train(self, runner: Runner) -> None:
        """Record the untrained encoder."""
        self.record = Record(self.entry, runner.model,
                             lambda images: whole_image_tokens(runner.model, images)[:, 1:])
        self.record.begin()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Record the encoder if it is time."""
        self.record.step()

    def after_train(self, runner: Runner) -> None:
        """Record the trained encoder."""
        self.record.end(runner.train_dataloader.batch_size, _PACKAGES)


def build_config(entry: Entry, recipe: str, crops: int | None = None) -> Config:
    """Build the config of a recipe, or of :data:`STOCK`, for a number of crops."""
    base, images = base_config(entry.folder), len(entry.train)
    if recipe != STOCK:
        return put_recipe(base, recipe, images, {'randomness.seed': entry.seed}, crops)
    cfg = deepcopy(base)
    merge_options(cfg, {
        **recommended_options(images, crops), 'train_dataloader.batch_size': BATCH,
        'optim_wrapper.optimizer.lr': RATE, 'auto_scale_lr.base_batch_size': BATCH,
        'randomness.seed': entry.seed})
    cfg.train_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromFile')
    return finished(cfg)


def main() -> None:
    """Time a few steps, then train for as many epochs as fit."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--recipe', choices=[*RECIPES, STOCK], required=True)
    entry, args = parse_entry(parser)
    cfg = build_config(entry, args.recipe)
    cfg = build_config(entry, args.recipe, crops_in(entry.minutes, cfg, entry.out))
    cfg.launcher, cfg.work_dir = 'none', str(entry.out / 'work_dir')
    runner = Runner.from_cfg(cfg) if args.recipe == STOCK else launch.build_runner(cfg)
    runner.register_hook(RecordHook(entry))
    runner.train()


if __name__ == '__main__':
    main()
