"""Load the encoder of a checkpoint into a model and report what was loaded."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.sharded_tensors import gather_tensor, shard_like

from .check_filled import FINAL_NORMS, check_filled, counts, network_size
from .convert_names import convert, detect_naming
from .dinov3 import check_rotary
from .encoders import choose_encoder
from .files import read_checkpoint
from .positions import fit_positions, lacks_cls_position

# Entries that only pre-training, or only tasks with [CLS], need.
DISPENSABLE = ('backbone.mask_token', 'backbone.cls_token', *FINAL_NORMS)
# Longer lists of names are cut, and logged in full at debug level.
MAX_NAMES = 4


@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a checkpoint and a backbone; ``str()`` gives one line.

    Attributes:
        path: The checkpoint.
        naming: See :mod:`amt_mm.checkpoints.convert_names`; None for another network.
        encoder: ``'teacher'`` or ``'student'`` if the checkpoint has a teacher, else None.
        loaded: Entries of the backbone that were filled.
        missing: Entries of the backbone that keep their initialisation.
        unexpected: Entries of the checkpoint's encoder that the backbone lacks.
        left_out: The rest of the checkpoint: decoder, head, the encoder not chosen.
        resized: Grids from and to which positions were resized, or None.
        notes: Further remarks, one sentence each.
    """

    path: str
    naming: str | None
    encoder: str | None
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]
    resized: tuple[tuple[int, int], tuple[int, int]] | None
    notes: tuple[str, ...]

    def text(self, most: int = MAX_NAMES) -> str:
        """The report in one line, with at most ``most`` names of each kind."""
        names = f' ({self.naming} naming)' if self.naming not in (None, 'mmpretrain') else ''
        chosen = f' from the {self.encoder}' if self.encoder else ''
        parts = [f'{self.path}{names}: {len(self.loaded)} of '
                 f'{len(self.loaded) + len(self.missing)} entries of the backbone loaded{chosen}']
        for title, entries in (('missing, kept as initialised', self.missing),
                               ('unexpected', self.unexpected),
                               ('not of the encoder', self.left_out)):
            if entries:
                parts.append(f'{title}: {_names(entries, most)}')
        if self.resized:
            parts.append('position embeddings resized from {}x{} to {}x{}'.format(
                *self.resized[0], *self.resized[1]))
        return '; '.join([*parts, *self.notes])

    def __str__(self) -> str:
        return self.text()


def load_backbone(model: nn.Module, path: str | os.PathLike, encoder: str | None = None
                  ) -> LoadReport:
    """Load the encoder of a checkpoint and log a report.

    Names of other code bases (``NAMINGS``) are converted; position embeddings are
    resized to the model's grid. Where the number of channels differs, each channel gets the same
    weights, the sum of the checkpoint's over the number: images with equal channels are embedded
    as before.

    Args:
        model: A model with the encoder in ``backbone``. Entries whose names end in one of the
            encoder's ``not_pretrained`` cannot be pre-trained: they are reported as missing but
            do not count.
        path: A file that :func:`amt_mm.checkpoints.read_checkpoint` reads.
        encoder: ``'teacher'`` or ``'student'``. Defaults to None, see
            :func:`~amt_mm.checkpoints.choose_encoder`.

    Returns:
        The report; logged as a warning if something is missing.

    Raises:
        InputError: No such file or encoder; less than 95 % of the encoder or not its patch
            embedding is filled; the checkpoint's encoder has more than the model's (blocks,
            LayerScale); its positions are rotary and the model's are not, or the other way round;
            or the grid of its positions is unknown.
    """
    checkpoint = read_checkpoint(path, encoder)
    state, naming, others = checkpoint.state, detect_naming(checkpoint.state), []
    notes = list(checkpoint.notes)
    exempt = tuple(getattr(model.backbone, 'not_pretrained', ()))
    own = model.state_dict()
    try:
        if naming is not None:
            state, _, others, remarks = convert(state, 'mmpretrain')
            notes += remarks
        names, chosen = choose_encoder(state, None if checkpoint.notes else encoder)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    if chosen is not None:
        kept = set(names.values())
        # The student's names get the prefix that they have in such a file.
        others += [f'student.{key}' if key.startswith(('backbone.', 'head.')) else key
                   for key in state if key not in kept]
        state = {new: state[old] for new, old in names.items()}
    state = _with_channels(own, _with_biases(own, state, notes), notes)
    check_rotary(path, own, state, notes)
    fits = check_filled(path, own, state, not_pretrained=exempt)
    _refuse_more(path, own, state)
    _refuse_untrained_cls(path, own, state)
    resized = None
    if (name := 'backbone.pos_embed') in fits:
        cls_token = 'backbone.cls_token'
        own_grid = getattr(getattr(model.backbone, 'patch_embed', None), 'init_out_size', None)
        # Our own files tell their grid, and their [CLS] has a position.
        if cls_token in state and lacks_cls_position(
                fits[name], (checkpoint.grid, own_grid), guess=naming == 'timm'):
            notes.append('its [CLS] has no position embedding, as in DeiT III: zeros, which '
                         'compute the same')
            fits[name] = F.pad(fits[name], (0, 0, 1, 0))
        try:
            fits[name], *grids = fit_positions(
                fits[name], gather_tensor(own[name]).cpu(), cls_token in state, cls_token in own,
                checkpoint.grid, own_grid)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        resized = tuple(grids) if grids[0] else None
    model.load_state_dict({key: shard_like(value, own[key]) for key, value in fits.items()},
                          strict=False)
    encoder = [key for key in own if key.startswith('backbone.')]
    report = LoadReport(
        path=str(path), naming=naming, encoder=chosen, loaded=tuple(fits),
        missing=tuple(key for key in encoder if key not in fits),
        unexpected=tuple(key for key in state if key.startswith('backbone.') and key not in own),
        left_out=(*others, *(key for key in state if not key.startswith('backbone.'))),
        resized=resized, notes=tuple(notes))
    logger = MMLogger.get_current_instance()
    alarming = [key for key in report.missing if counts(key, exempt)]
    logger.log(logging.WARNING if alarming else logging.INFO, report)
    whole = report.text(len(own) + len(state))
    if whole != str(report):
        logger.debug(whole)
    return report


def _refuse_more(path: str | os.PathLike, own: Mapping[str, Tensor],
                 state: Mapping[str, Tensor]) -> None:
    """Refuse an encoder with parts that the model lacks: it would be another network."""
    more = [key for key in state if key.startswith('backbone.') and key not in own
            and not key.startswith(DISPENSABLE)]
    if not more:
        return
    sizes = network_size(state), network_size(own)
    if sizes[0] != sizes[1]:
        what = f'the checkpoint is {sizes[0]}, the model {sizes[1]}'
    elif (registers := 'backbone.pre_norm.tokens') in more and state[registers].ndim == 3:
        what = (f'it has register tokens: set model.backbone.num_registers='
                f'{state[registers].shape[1]} (amt_mm.RegisterViT and hosts have it)')
    elif any('gamma' in key for key in more):
        what = ('it was trained with LayerScale, as SimMIM is: set '
                'model.backbone.layer_scale_init_value=0.1')
    else:
        what = 'use the config it was trained with'
    raise InputError(f'{path}: the model lacks {len(more)} entries of its encoder '
                     f'({_names(more, MAX_NAMES)}) and would compute something else; {what}')


def _refuse_untrained_cls(path: str | os.PathLike, own: Mapping[str, Tensor],
                          state: Mapping[str, Tensor]) -> None:
    """Refuse a random [CLS], which all patches would attend to."""
    if 'backbone.cls_token' in own and 'backbone.cls_token' not in state:
        raise InputError(f'{path}: it has no [CLS] token, and an untrained one would change all '
                         'features: set model.backbone.with_cls_token=False, with '
                         "model.backbone.out_type='avg_featmap' for a head; k-NN and low-shot "
                         'then take the mean of the patch tokens')


def _with_biases(own: Mapping[str, Tensor], state: Mapping[str, Tensor], notes: list[str]
                 ) -> dict[str, Tensor]:
    """Add zeros for biases that an encoder was trained without, in all blocks alike."""
    kinds = defaultdict(list)
    for key, value in own.items():
        if (match := re.match(r'backbone\.layers\.\d+\.(.+\.bias)$', key)) and (
                f'{key[:-4]}weight' in state):
            kinds[match[1]].append((key, value))
    absent = {kind: entries for kind, entries in kinds.items()
              if not any(key in state for key, _ in entries)}
    if absent:
        notes.append(f'its blocks have no {", ".join(absent)}: zeros, which compute the same')
    return {**state, **{key: torch.zeros(value.shape) for entries in absent.values()
                        for key, value in entries}}


def _with_channels(own: Mapping[str, Tensor], state: Mapping[str, Tensor], notes: list[str]
                   ) -> dict[str, Tensor]:
    """Fit the patch embedding to another number of channels."""
    name = 'backbone.patch_embed.projection.weight'
    if name not in own or name not in state or state[name].ndim != 4:
        return dict(state)
    weight, count = state[name], own[name].shape[1]
    if weight.shape[1] == count:
        return dict(state)
    notes.append(f'patch embedding of {weight.shape[1]} channels fitted to {count}: each has the '
                 'same weights')
    return {**state, name: (weight.sum(dim=1, keepdim=True) / count).repeat(1, count, 1, 1)}


def _names(entries: Iterable[str], most: int) -> str:
    """Names without the backbone's prefix, cut after ``most``."""
    names = [entry.removeprefix('backbone.') for entry in entries]
    if len(names) <= most:
        return ', '.join(names)
    return f'{", ".join(names[:most - 1])} and {len(names) - most + 1} more'
