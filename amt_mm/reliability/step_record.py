"""The inputs of one training step, recorded and kept in a file, so that a tool can repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from amt_mm.checkpoints.pickles import read_pickle
from amt_mm.checkpoints.safe_loading import NUMPY
from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.checkpoints.seal import seal
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.random_streams import random_state

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


class StepRecorder:
    """Record what the forward passes of a model are given in the batches of a step.

    Args:
        model: The model in training, without wrappers.
        buffers: Of the model from before the step, by name, if the step has begun in a run that
            this one resumes. Defaults to None: it has not.

    Attributes:
        batches: Those of the step so far.
        buffers: Copies from before its first batch, by name; None before that.
    """

    def __init__(self, model: nn.Module, buffers: dict[str, Tensor] | None = None) -> None:
        self.batches: list[GivenBatch] = []
        self.buffers = buffers
        # Whether a forward pass is that of a batch, not of a validation between two of them.
        self._open = False
        # Listed once, since walking all modules takes as long as a block of a small network.
        self._with_buffers = [(name, module) for name, module in model.named_modules()
                              if next(module.buffers(recurse=False), None) is not None]
        self._handles = [model.register_forward_pre_hook(self._note_call, with_kwargs=True),
                         model.register_forward_hook(self._note_losses)]

    def begin_batch(self, data: Any, divisor: int) -> None:
        """Record a batch and the random state, see :class:`GivenBatch`."""
        if self.buffers is None:
            self.buffers = {name: buffer.clone() for name, buffer in self._named_buffers()}
        self.batches.append(GivenBatch(data, divisor, random_state()))
        self._open = True

    def end_batch(self, complete: bool) -> None:
        """Stop recording; forget the step if it is complete."""
        self._open = False
        if complete:
            self.batches.clear()
            self.buffers = None

    def losses(self) -> list[tuple[str, Tensor]]:
        """Return the losses of all batches so far, with names that tell the batch."""
        count = len(self.batches)
        return [(f'{name} of batch {i} of {count}' if count > 1 else name, loss)
                for i, batch in enumerate(self.batches, 1) for name, loss in batch.losses.items()]

    def restore_buffers(self) -> None:
        """Give the model the buffers from before the step."""
        for name, buffer in self._named_buffers():
            buffer.copy_(self.buffers[name])

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()

    def _named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self._with_buffers:
            yield from module.named_buffers(prefix, recurse=False)

    @torch.compiler.disable
    def _note_call(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if self._open and self.batches[-1].forward_random is None:
            self.batches[-1].forward_random = random_state()
            self.batches[-1].plan = kwargs.get('plan')

    @torch.compiler.disable
    def _note_losses(self, model: nn.Module, args: tuple, output: object) -> None:
        if self._open and isinstance(output, dict):
            self.batches[-1].losses.update(losses_of(output))


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
