"""Load a checkpoint into a model, and say what was loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

from amt_mm.errors import InputError

# Below this share of the backbone's entries a checkpoint is not the one that was meant.
MIN_FILLED = 0.95


def load_backbone(model: nn.Module, path: str | os.PathLike) -> None:
    """Load the encoder of a checkpoint, loudly.

    Args:
        model: A model with the encoder in ``backbone``.
        path: Checkpoint of this toolbox or of mmpretrain.

    Raises:
        InputError: No such file, or it fills less than 95 % of the encoder.
    """
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such checkpoint')
    checkpoint = _load_checkpoint(str(path), map_location='cpu')
    fits = check_filled(path, model.state_dict(), checkpoint.get('state_dict', checkpoint))
    model.load_state_dict(fits, strict=False)
    MMLogger.get_current_instance().info(f'{path}: {len(fits)} entries of the backbone loaded')


def check_filled(path: str | os.PathLike, own: Mapping[str, Tensor], state: Mapping[str, Tensor],
                 prefix: str = 'backbone.') -> dict[str, Tensor]:
    """Refuse a checkpoint that leaves the encoder as it was.

    Args:
        path: Named in the message.
        own: State of the model.
        state: State in the checkpoint; a leading ``module.`` of DDP does not count.
        prefix: Beginning of the entries that must be filled; '' for all.

    Returns:
        The entries with this beginning that fit by name and shape.

    Raises:
        InputError: Less than 95 % fit, or the patch embedding does not; with the likely reason.
    """
    part = prefix.rstrip('.') or 'model'
    own = {key: value for key, value in own.items() if key.startswith(prefix)}
    found = {key.removeprefix('module.'): value for key, value in state.items()}
    found = {key: value for key, value in found.items()
             if key.startswith(prefix) and hasattr(value, 'shape')}
    fits = {key: value for key, value in found.items()
            if key in own and _fits(key, value, own[key])}
    # A patch embedding of random weights spoils all that is built on it.
    stem = [key for key in own if '.patch_embed.' in key and key not in fits]
    if len(fits) >= MIN_FILLED * len(own) and not stem:
        return fits
    if not found:
        reason = (f'it has no entry named `{prefix}...`: is it a checkpoint of another kind of '
                  'model?')
    elif own.keys() & found.keys():
        example = sorted((own.keys() & found.keys()) - fits.keys() or own.keys() - found.keys())[0]
        reason = (f'its {part} is of another width, depth or patch size (see `{example}`): use the '
                  'config that it was trained with')
    else:
        reason = (f'its names are of another architecture (`{min(found)}`, here `{min(own)}`)')
    raise InputError(f'{path}: fills {len(fits)} of {len(own)} entries of the {part}; {reason}')


def _fits(key: str, value: Tensor, own: Tensor) -> bool:
    """Same shape; position embeddings may count other positions: they are resized in loading."""
    if key.endswith('pos_embed'):
        return value.shape[-1] == own.shape[-1]
    return value.shape == own.shape
