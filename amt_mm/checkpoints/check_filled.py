"""Whether a checkpoint fills a model, and the likely reason where it does not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from torch import Tensor

from amt_mm.errors import InputError

from .convert_names import detect_naming

# A checkpoint that fills less of the backbone's entries is a wrong one.
_MIN_FILLED = 0.95
# The norm after the last block stands before or after pooling, depending on the task. It does not
# count.
FINAL_NORMS = ('backbone.ln1.', 'backbone.ln2.')
_SIZES = {(192, 12): 'T', (384, 12): 'S', (768, 12): 'B', (1024, 24): 'L', (1280, 32): 'H'}


def check_filled(path: str | os.PathLike, own: Mapping[str, Tensor], state: Mapping[str, Tensor],
                 prefix: str = 'backbone.', not_pretrained: tuple[str, ...] = ()
                 ) -> dict[str, Tensor]:
    """Raise unless a checkpoint fills (nearly) the whole encoder.

    Args:
        path: For the message.
        own: State of the model.
        state: State in the checkpoint; a leading ``module.`` of DDP is ignored.
        prefix: Prefix of the entries to fill; '' for all.
        not_pretrained: Suffixes of entries that do not count, like the norm after the last block.

    Returns:
        The entries with this prefix that match in name and shape; position embeddings match by
        width, as they are resized in loading.

    Raises:
        InputError: Less than 95 % match, or the patch embedding does not; with the likely reason.
            Or an entry has whole or complex numbers in place of floating point ones.
    """
    part = prefix.rstrip('.') or 'model'
    own = {key: value for key, value in own.items() if key.startswith(prefix)}
    found = {key.removeprefix('module.'): value for key, value in state.items()}
    naming = detect_naming(found)
    found = {key: value for key, value in found.items()
             if key.startswith(prefix) and hasattr(value, 'shape')}
    fits = {key: value for key, value in found.items()
            if key in own and _fits(key, value, own[key])}
    odd = next((key for key, value in fits.items()
                if own[key].is_floating_point() and not value.is_floating_point()), None)
    if odd is not None:
        # Torch would convert them: without their scale, or to their real part.
        raise InputError(f'{path}: `{odd}` has values of {fits[odd].dtype}, not floating point '
                         'ones: use a checkpoint that is not quantised')
    counted = [key for key in own if counts(key, not_pretrained)]
    filled = sum(key in fits for key in counted)
    # Random patch embeddings would spoil all that follows.
    stem = [key for key in own if '.patch_embed.' in key and key not in fits]
    if filled >= _MIN_FILLED * len(counted) and not stem:
        return fits
    raise InputError(f'{path}: fills {filled} of {len(counted)} entries of the {part}; '
                     + _reason(part, prefix, own, found, fits, naming))


def _reason(part: str, prefix: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor],
            fits: Mapping[str, Tensor], naming: str | None) -> str:
    """The likely reason why a checkpoint fills too little."""
    if naming not in (None, 'mmpretrain'):
        return (f'its names are those of {naming}: convert it with '
                'tools/model_converters/convert_checkpoint.py --to mmpretrain')
    encoder = {key for key in found if key.startswith('backbone.')}
    if not prefix and encoder and not (found.keys() - encoder) & own.keys():
        return 'it is an encoder without this head: train the head first with tools/train.py'
    if not found:
        return f'it has no entry named `{prefix}...`: is it a checkpoint of another model?'
    sizes = network_size(found), network_size(own)
    if None not in sizes and sizes[0] != sizes[1]:
        return (f'the checkpoint is {sizes[0]}, the model {sizes[1]}: use the config that it was '
                'trained with (patch embeddings are not resampled)')
    common = own.keys() & found.keys()
    if not common:
        return f'its names are of another architecture (`{min(found)}`, here `{min(own)}`)'
    if common - fits.keys():
        key = min(common - fits.keys())
        return (f'its {part} is of another width, depth or patch size (`{key}` is '
                f'{_shape(found[key])}, here {_shape(own[key])}): use the config that it was '
                'trained with')
    missing = own.keys() - found.keys()
    return (f'it has {len(common)} entries that fit, but not the other {len(missing)}, such as '
            f'`{min(missing)}`: it is of another architecture or depth, or incomplete; use the '
            'config that it was trained with')


def network_size(state: Mapping[str, Tensor]) -> str | None:
    """Width, depth and patch size of a vision transformer in words."""
    stem = next((value for key, value in state.items()
                 if key.endswith('patch_embed.projection.weight') and value.ndim == 4), None)
    layers = {match[1] for key in state if (match := re.match(r'backbone\.layers\.(\d+)\.', key))}
    if stem is None or not layers:
        return None
    width, depth, patch = stem.shape[0], len(layers), stem.shape[-1]
    name = f' (ViT-{_SIZES[width, depth]}/{patch})' if (width, depth) in _SIZES else ''
    return f'{width} wide and {depth} deep with patches of {patch} px{name}'


def counts(key: str, not_pretrained: tuple[str, ...]) -> bool:
    """Whether an entry must be filled."""
    return not key.startswith(FINAL_NORMS) and not key.endswith(not_pretrained)


def _fits(key: str, value: Tensor, own: Tensor) -> bool:
    """Whether the shapes match; position embeddings may differ in number, as they are resized."""
    start = -1 if key.endswith('pos_embed') else None
    return value.shape[start:] == own.shape[start:]


def _shape(value: Tensor) -> str:
    return 'x'.join(map(str, value.shape)) or 'a number'
