"""What DINOv3's files have besides names: masks of biases, and the periods of rotary positions."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor

from amt_mm.errors import InputError

PERIODS = 'backbone.rotary.periods'
# Of all published models; heads of the 7B model are wider.
_BASE, _HEAD_WIDTH, _WIDER = 100., 64, {4096: 128}
# The published files have periods rounded to bfloat16, which has 8 significant bits.
_ROUNDED = 2.**-8


def apply_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply biases by their masks, which are 0 for keys; each forward pass there does it."""
    masked = {}
    for key, value in state.items():
        if not key.endswith('.bias_mask'):
            mask = state.get(f'{key}_mask')
            masked[key] = value if mask is None else torch.where(mask.bool(), value, 0)
    return masked


def require_masked(state: Mapping[str, Tensor]) -> None:
    """Raise InputError if a bias of keys is not 0: rotated keys would make use of it."""
    for key, value in state.items():
        if key.endswith('.attn.qkv.bias') and value.chunk(3)[1].any():
            raise InputError(f'`{key}` is not 0 for keys, which DINOv3 masks')


def add_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of :func:`apply_masks`."""
    masks = {}
    for key, value in state.items():
        if key.endswith('.attn.qkv.bias'):
            ones = torch.ones_like(value.chunk(3)[0])
            masks[f'{key}_mask'] = torch.cat([ones, 0 * ones, ones])
    return {**state, **masks}


def add_periods(ours: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Add the periods of rotary positions, which only the official files have."""
    if PERIODS in ours or 'backbone.cls_token' not in ours:
        return dict(ours)
    width = ours['backbone.cls_token'].shape[-1]
    head = _WIDER.get(width, _HEAD_WIDTH)
    notes.append(f'its rotary positions have base {_BASE:g} and its heads are {head} wide, as in '
                 'all published models of its width')
    return {**ours, PERIODS: rotary_periods(head)}


def require_rotary(ours: Mapping[str, Tensor]) -> None:
    """Raise InputError for a network without rotary positions."""
    if PERIODS not in ours:
        raise InputError('its positions are not rotary, as those of DINOv3 are')


def without_periods(ours: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Drop the periods of rotary positions for code bases that compute them.

    Raises:
        InputError: They are not those of the published models.
    """
    periods = ours[PERIODS]
    exact = rotary_periods(4 * len(periods))
    if not torch.allclose(periods.float(), exact, rtol=_ROUNDED, atol=0):
        raise InputError(f'its rotary positions have other periods than those of base {_BASE:g}')
    if not torch.equal(periods.float(), exact):
        notes.append('its rotary positions have rounded periods, as the official files do: there '
                     'they are exact, which changes features slightly')
    return {name: value for name, value in ours.items() if name != PERIODS}


def check_rotary(path: str | os.PathLike, own: Mapping[str, Tensor], state: Mapping[str, Tensor],
                 notes: list[str]) -> None:
    """Compare the positions of a checkpoint and a model.

    Args:
        path: The checkpoint, for messages.
        own: State of the model.
        state: That of the checkpoint, under our names.
        notes: Gets a sentence if both are rotary.

    Raises:
        InputError: One has rotary positions and the other has not, or heads of another width.
    """
    theirs, ours = state.get(PERIODS), own.get(PERIODS)
    if theirs is None and ours is None:
        return
    if ours is None:
        raise InputError(f'{path}: its positions are rotary, as those of DINOv3 are: set '
                         'model.backbone.rotary=True (amt_mm.RegisterViT and hosts have it)')
    if theirs is None:
        raise InputError(f'{path}: its positions are not rotary: set model.backbone.rotary=False')
    if len(theirs) != len(ours):
        raise InputError(f'{path}: its heads are {4 * len(theirs)} wide, those of the model '
                         f'{4 * len(ours)}: set another model.backbone.arch')
    notes.append('its positions are rotary, so none is resized for another size of images')


def rotary_periods(head_width: int) -> Tensor:
    """Return the periods of DINOv3, ``(head_width / 4,)`` fp32."""
    return _BASE**(torch.arange(head_width // 4) / (head_width // 4))
