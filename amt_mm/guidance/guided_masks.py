"""What a hook that makes maps asks of the masks."""

from __future__ import annotations

from amt_mm.errors import InputError
from amt_mm.masking.generators import MaskGenerator


def check_uses_weights(generator: MaskGenerator, hook: str) -> None:
    """Refuse to make maps that no mask will follow.

    Args:
        generator: Of the data preprocessor.
        hook: Name of the hook, for the message.

    Raises:
        InputError: The generator uses no weights.
    """
    if not generator.needs_weights:
        raise InputError(f'{hook}: {type(generator).__name__} uses no weights; set mask_generator.'
                         "type='amt_mm.AMTMaskGenerator', or leave the hook out "
                         '(overlay.hooks._delete_=True where an overlay brings it)')
