"""The inputs of one training step in a file, so that a tool can repeat the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from amt_mm.checkpoints.pickles import read_pickle
from amt_mm.checkpoints.safe_loading import NUMPY
from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.checkpoints.seal import seal
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan

FORMAT = 'amt_mm step 3'
# Fields that identify a sample.
_NAMES = ('sample_idx', 'img_id', 'img_path', 'crop_box', 'flip', 'flip_direction')


@dataclass
class GivenBatch:
    """One batch of a training step, with all that its forward pass depends on.

    Attributes:
        data: The batch as returned by the loader.
        divisor: Number of batches of the step, by which the loss was divided.
        random: State of the random streams before the data preprocessor.
        forward_random: The same before the model's forward; None until it runs.
        plan: Its mask plan, if there is one.
        losses: Losses of the model, see :func:`losses_of`.
    """

    data: Any
    divisor: int
    random: dict
    forward_random: dict | None = None
    plan: MaskPlan | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


# All that a file may hold besides numbers, texts, collections and tensors.
_CLASSES = [*NUMPY, *((kind, f'{kind.__module__}.{kind.__name__}')
                      for kind in (DataSample, MaskPlan, GivenBatch))]


def write_step(path: Path, batches: Sequence[GivenBatch], state_dict: Mapping[str, Tensor],
               buffers: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a step to a file, completely or not at all.

    Args:
        path: The file; its folders are created as needed.
        batches: The batches of the step, in order.
        state_dict: The model's weights before the step.
        buffers: All its buffers, since ``state_dict`` lacks those that are not persistent.
        about: Further entries: numbers and texts by name.

    Raises:
        InputError: The disk is full, or the folder cannot be written.
    """
    with atomic_file(path) as temporary:
        torch.save({**about, 'format': FORMAT, 'batches': list(batches),
                    'state_dict': dict(state_dict), 'buffers': dict(buffers)}, temporary)
        seal(temporary)


def read_step(path: Path) -> dict[str, Any]:
    """Read a file of :func:`write_step` onto the CPU; no code of the file is run.

    Returns:
        What was written.

    Raises:
        InputError: No such file, another kind of file, or samples of another class than
            ``DataSample``, such as those of detection.
    """
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    content = read_pickle(path, path, _CLASSES)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise InputError(f'{path}: not a step that amt_mm.NanGuardHook of this version wrote')
    return content


def losses_of(output: Mapping[str, Any]) -> dict[str, Tensor]:
    """The losses that a model reports, by name; each part of a list under a name of its own."""
    losses = {}
    for name, value in output.items():
        parts = value if isinstance(value, (list, tuple)) else [value]
        # As MMEngine tells losses from what else a model reports.
        if 'loss' in name:
            losses.update({f'{name}.{i}' if len(parts) > 1 else name: part.detach()
                           for i, part in enumerate(parts)})
    return losses


def samples_of(data: Any) -> list[dict[str, Any]]:
    """Return what identifies the samples of a batch: index, file, crop and flip, if recorded."""
    samples = data.get('data_samples') if isinstance(data, Mapping) else None
    if not isinstance(samples, Sequence):
        return []
    return [{name: getattr(sample, name) for name in _NAMES if hasattr(sample, name)}
            for sample in samples]
