"""Check that masks follow the maps that a hook makes."""

from __future__ import annotations

from amt_mm.errors import InputError
from amt_mm.masking.generators import MaskGenerator


def check_uses_weights(generator: MaskGenerator, hook: str) -> None:
    """Raise InputError, naming the hook, if a mask generator uses no weights."""
    if not generator.needs_weights:
        raise InputError(f'{hook}: {type(generator).__name__} uses no weights; set mask_generator.'
                         "type='amt_mm.AMTMaskGenerator', or leave the hook out "
                         '(overlay.hooks._delete_=True where an overlay brings it)')
