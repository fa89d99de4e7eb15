"""Checkpoints of self-distillation (DINO, iBOT, AttMask): student, teacher, heads and centers.

Their files keep student, teacher and loss apart. Here all three share one state dict, prefixed
by ``student.``, ``teacher.`` and ``ibot_loss.`` or ``dino_loss.``. A network without a prefix
counts as the student.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

NETWORKS = ('student', 'teacher')
LOSSES = {'ibot': 'ibot_loss', 'dino': 'dino_loss'}
_NAMES = re.compile(r'(?:student\.|teacher\.)?backbone\.(blocks\.\d+\.norm1\.|patch_embed\.proj\.)')
# Entries of iBOT alone: masks, and a last layer for patches.
_OF_IBOT = re.compile(r'(.*\.|)(masked_embed|last_layer2\..*|center2|mlp2\..*)$')
_HEAD = re.compile(r'head\.(mlp\.\d+\.(weight|bias)|last_layer2?\.weight_[gv])')
_PATCHES = '.last_layer2.'
# Tensors whose shapes differ between their code and ours.
_THEIR_SHAPES = {'masked_embed': (1, -1), 'center': (1, -1), 'center2': (1, 1, -1)}
_OUR_SHAPES = {'mask_token': (1, 1, -1), 'mean': (-1,)}


def detect_distillation(names: Iterable[str]) -> str | None:
    """Return ``'ibot'`` or ``'dino'`` if these are their names, else None."""
    names = list(names)
    if not any(_NAMES.match(name) for name in names):
        return None
    return 'ibot' if any(_OF_IBOT.match(name) for name in names) else 'dino'


def networks_in(content: Mapping) -> dict[str, Mapping]:
    """Return the parts of a file that hold student, teacher or loss; empty for other files."""
    if not any(isinstance(content.get(name), Mapping) for name in NETWORKS):
        return {}
    return {name: content[name] for name in (*NETWORKS, *LOSSES.values())
            if isinstance(content.get(name), Mapping)}


def by_network(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Split a state dict into one per network and loss, as DINO and iBOT store them.

    Their training wraps the student, so its entries begin with ``module.``.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition('.')
        parts.setdefault(part, {})[f'module.{rest}' if part == 'student' else rest] = value
    return parts


def usable_part(state: Mapping[str, Tensor], notes: list[str]
                ) -> tuple[dict[str, Tensor], list[str]]:
    """Drop heads that :class:`~amt_mm.models.DistillationHead` cannot represent.

    It serves [CLS] and patches alike. If a head does so, the second copy of its last layer is
    dropped; any other head is dropped as a whole, as a part would compute something else.

    Args:
        state: Of one or two networks.
        notes: Reasons are appended here.

    Returns:
        The rest, prefixed by network, and the names that were dropped.
    """
    if not any(key.startswith(tuple(f'{name}.' for name in NETWORKS)) for key in state):
        state = {f'student.{key}': value for key, value in state.items()}
    left_out = []
    for network in NETWORKS:
        head = [key for key in state if key.startswith(f'{network}.head.')]
        reason = _other_head(state, network, head)
        if reason:
            notes.append(f'the head of the {network} is left out: {reason}')
            left_out += head
    copies = {key for key in state if _PATCHES in key}
    return ({key: value for key, value in state.items()
             if key not in left_out and key not in copies}, left_out)


def with_copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the second name of each shared last layer that iBOT's heads have."""
    copies = {key.replace('.last_layer.', _PATCHES): value for key, value in state.items()
              if '.last_layer.' in key}
    return {**state, **copies}


def reshaped(state: Mapping[str, Tensor], ours: bool) -> dict[str, Tensor]:
    """Reshape mask token and centers to our layout, or to that of iBOT and DINO."""
    shapes = _OUR_SHAPES if ours else _THEIR_SHAPES
    return {key: value.reshape(shapes[last]) if (last := key.rpartition('.')[2]) in shapes
            and value.ndim else value for key, value in state.items()}


def _other_head(state: Mapping[str, Tensor], network: str, head: list[str]) -> str | None:
    """Why a head does not fit a DistillationHead; None if it does."""
    unknown = [key for key in head if not _HEAD.fullmatch(key.removeprefix(f'{network}.'))]
    if unknown:
        return f'`{unknown[0]}` has no place in a DistillationHead'
    copies = [key for key in head if _PATCHES in key]
    first = {key: state.get(key.replace(_PATCHES, '.last_layer.')) for key in copies}
    if any(value is None or not torch.equal(value, state[key]) for key, value in first.items()):
        return 'its last layers for patches and [CLS] differ (shared_head False)'
    return None
