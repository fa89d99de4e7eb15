"""Section: patch features as colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .feature_colours import component_colours
from .page import Picture
from .sections import Row, Section
from .shown import ShownImages


def components_row(shown: ShownImages, features: Tensor, encoder: str = '') -> Row:
    """Colour the patches of all images by the principal components of their features.

    Args:
        shown: The images.
        features: Of their patches after the last norm, ``(B, N, D)``.
        encoder: Name of the encoder. Defaults to '': the page has only one.

    Raises:
        InputError: A feature is not finite, or there are fewer than three patches or dimensions.
    """
    colours, share = component_colours(features)
    pictures = [Picture(name, np.concatenate([image, shown.patches(colour)]))
                for name, image, colour in zip(shown.names, shown.images, colours, strict=True)]
    heading = f'{encoder}: ' * bool(encoder) + f'{100 * share:.0f} % of the variance'
    return Row(heading, pictures)


def components_section(rows: Sequence[Row]) -> Section:
    """Return the section of :func:`components_row`, one row per encoder."""
    return Section(
        'components', 'What the encoder finds alike',
        ['The first three principal components of the patch features, over all patches of these '
         'images, are red, green and blue; the heading tells how much of the variance they hold. '
         'Patches of one colour are alike to the encoder, in one image and across them. Colours '
         'that follow the place alone show features that mainly tell where a patch is.'],
        rows, columns=8, few=4)
