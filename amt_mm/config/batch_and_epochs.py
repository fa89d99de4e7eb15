"""Recommended batch size, learning rate and epochs for a number of images; other epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from amt_mm.errors import InputError

# Found on 3,068 photographs and short runs of a small network, see docs/recipes.md.
_SMALLEST_BATCH = 16
_LARGEST_BATCH = 512
_LEARNING_RATE = 5e-4  # at the smallest batch
_STEPS = 5000
_CROPS = 100_000
_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 400
_WARM_UP = 0.1


def recommended_options(num_images: int, crops: int | None = None) -> dict:
    """Choose batch, learning rate and epochs for a data set.

    In short runs the number of steps decides, so the batch is the largest power of two, from 16 to
    512, that leaves 5,000 steps. The learning rate of AdamW grows with the square root of the batch
    (Malladi et al., NeurIPS 2022).

    Args:
        num_images: Images of the training set.
        crops: Crops to train on. Defaults to 100,000, at least 20 and at most 400 epochs.

    Returns:
        Options as for ``--cfg-options``.

    Raises:
        InputError: No image, or no crop.
    """
    if num_images < 1:
        raise InputError('the training set has no images')
    if crops is None:
        crops = min(max(_CROPS, _FEWEST_EPOCHS * num_images), _MOST_EPOCHS * num_images)
    if crops < 1:
        raise InputError(f'crops={crops} must be at least 1')
    epochs = max(1, round(crops / num_images))
    batch = 2 ** math.floor(math.log2(max(1, crops / _STEPS)))
    batch = min(max(batch, _SMALLEST_BATCH), _LARGEST_BATCH)
    warm_up = min(max(1, round(_WARM_UP * epochs)), epochs - 1)
    if warm_up * math.ceil(num_images / batch) < 2:
        warm_up = 0  # a LinearLR of one step never leaves its start
    stage = dict(by_epoch=True, convert_to_iter_based=True)
    schedule = [dict(type='CosineAnnealingLR', T_max=epochs - warm_up, begin=warm_up, end=epochs,
                     **stage)]
    if warm_up:
        schedule.insert(0, dict(type='LinearLR', start_factor=1e-4, begin=0, end=warm_up, **stage))
    return {
        'train_dataloader.batch_size': batch,
        'optim_wrapper.optimizer.lr': _LEARNING_RATE * math.sqrt(batch / _SMALLEST_BATCH),
        'train_cfg.max_epochs': epochs,
        'param_scheduler': schedule,
        # The rate is that of this batch.
        'auto_scale_lr.base_batch_size': batch,
        'default_hooks.checkpoint.interval': max(1, epochs // 10),
    }


def scaled_stages(stages: Sequence[Mapping], epochs: int, old: int) -> list[dict]:
    """Scale the stages of a learning rate from an old number of epochs to another.

    Stages of iterations stay, and those for which no epoch is left are dropped.

    Args:
        stages: Of ``param_scheduler``, whose ``begin``, ``end`` and ``T_max`` are scaled.
        epochs: The new number.
        old: The number that they are for.
    """
    def scale(value: float) -> float:
        if not 0 < value < old:
            return value if math.isinf(value) else value * epochs // old
        return min(max(1, round(value * epochs / old)), epochs - 1)

    scaled = []
    for stage in stages:
        stage = dict(stage)
        if stage.get('by_epoch', True):
            begin, end = stage.get('begin', 0), stage.get('end', math.inf)
            fills = stage.get('T_max') == end - begin
            stage.update({key: scale(stage[key]) for key in ('begin', 'end', 'T_max')
                          if key in stage})
            if fills:
                # Rounded by itself, it could miss the end of its stage by an epoch.
                stage['T_max'] = scale(end) - scale(begin)
            if scale(begin) == scale(end):
                continue
        scaled.append(stage)
    return scaled
