"""Time a training step of several recipes in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from amt_mm.engine.parameter_groups import merge_groups
from amt_mm.saliency import SaliencyStore

from .judging import build_model

_WARM_UP = 3


def step_times(configs: Mapping[str, Config], maps: Mapping[str, Path] | None = None,
               rounds: int = 12) -> dict[str, float]:
    """Time training steps, loading included, in rounds of one step of each config.

    Whatever else the machine does in the meantime slows all of them alike.

    Args:
        configs: Name -> resolved config of pre-training.
        maps: Name -> map file of a config that is guided by attention; without it, masks are at
            random. Defaults to None.
        rounds: Steps of each, after three that are not counted. Defaults to 12.

    Returns:
        Name -> median seconds of a step at the end of training.
    """
    steps = {name: _Steps(cfg, (maps or {}).get(name)) for name, cfg in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(_WARM_UP + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= _WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    steps.clear()
    if torch.cuda.is_available():  # which the training needs, in another process
        torch.cuda.empty_cache()
    return {name: statistics.median(values) for name, values in seconds.items()}


class _Steps:
    """The steps of a config's training without its hooks, on weights that nobody keeps."""

    def __init__(self, cfg: Config, maps: Path | None) -> None:
        self.model = build_model(cfg).train()
        preprocessor = self.model.data_preprocessor
        if hasattr(preprocessor, 'mask_generator'):
            preprocessor.mask_generator.finish()
        if maps is not None:
            preprocessor.store = SaliencyStore(maps)
        # Training says of parameters that are not trained that it skips them; once is enough.
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel('ERROR')
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)
        # As the runner does.
        groups = self.optimizer.optimizer.param_groups
        groups[:] = merge_groups(groups)
        logger.setLevel(level)
        self.batches = iter(Runner.build_dataloader({
            **cfg.train_dataloader,
            'sampler': dict(type='InfiniteSampler', shuffle=True)}, seed=0))

    def __call__(self) -> None:
        losses = self.model.train_step(next(self.batches), self.optimizer)
        # Waits for a GPU.
        next(value for value in losses.values() if torch.is_tensor(value)).item()
