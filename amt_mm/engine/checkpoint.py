"""Load a checkpoint into a model, and say what was loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from amt_mm.errors import InputError

# Below this share of the backbone's entries a checkpoint is not the one that was meant.
MIN_FILLED = 0.95


def load_backbone(model: nn.Module, path: str | os.PathLike, prefix: str = 'backbone.') -> None:
    """Load the encoder of a checkpoint, loudly.

    Args:
        model: A model with the encoder in ``backbone``.
        path: Checkpoint of this toolbox or of mmpretrain.
        prefix: What the encoder's entries begin with in the checkpoint.

    Raises:
        InputError: No such file, or it fills less than 95 % of the encoder.
    """
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such checkpoint')
    checkpoint = _load_checkpoint(str(path), map_location='cpu')
    state = {key.removeprefix('module.').removeprefix(prefix): value
             for key, value in checkpoint.get('state_dict', checkpoint).items()
             if key.removeprefix('module.').startswith(prefix)}
    own = model.backbone.state_dict()
    fits = {key: value for key, value in state.items()
            if key in own and own[key].shape == value.shape}
    check_filled(path, own, fits, state)
    model.backbone.load_state_dict(fits, strict=False)
    MMLogger.get_current_instance().info(
        f'{path}: {len(fits)} of {len(own)} entries of the backbone loaded, '
        f'{len(state) - len(fits)} of the checkpoint not used')


def check_filled(path: str | os.PathLike, own: Iterable[str], fits: Iterable[str],
                 found: Iterable[str]) -> None:
    """Refuse a checkpoint that leaves the encoder as it was.

    Args:
        path: Named in the message.
        own: Entries that the encoder has.
        fits: Those of them that the checkpoint has in the same shape.
        found: All entries that the checkpoint has for an encoder.

    Raises:
        InputError: Less than 95 % fit; with the likely reason.
    """
    own, fits, found = set(own), set(fits), set(found)
    if len(fits) >= MIN_FILLED * len(own):
        return
    if not found:
        reason = 'it has no entry named `backbone.`: is it a checkpoint of another kind of model?'
    elif own & found:
        example = sorted((own & found) - fits or own - found)[0]
        reason = (f'its encoder is of another size or depth (see `{example}`): use the config that '
                  'it was trained with')
    else:
        reason = (f'its names are of another architecture (`{sorted(found)[0]}`, here '
                  f'`{sorted(own)[0]}`)')
    raise InputError(f'{path}: fills {len(fits)} of {len(own)} entries of the backbone; {reason}')
