"""Section: patch features as colours."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .feature_colours import component_colours
from .page import Picture
from .sections import Row, Section
from .shown import Shown


def components_section(shown: Shown, features: Tensor) -> Section:
    """Colour the patches of all images by the principal components of their features.

    Args:
        shown: The images.
        features: Of their patches after the last norm, ``(B, N, D)``.

    Raises:
        InputError: A feature is not finite, or there are fewer than three patches or dimensions.
    """
    colours, share = component_colours(features)
    pictures = [Picture(name, np.concatenate([image, shown.patches(colour)]))
                for name, image, colour in zip(shown.names, shown.images, colours, strict=True)]
    return Section(
        'components', 'What the encoder finds alike',
        ['The first three principal components of the patch features, over all patches of these '
         f'images, are red, green and blue; they hold {100 * share:.0f} % of the variance. '
         'Patches of one colour are alike to the encoder, in one image and across them. Colours '
         'that follow the place alone show features that mainly tell where a patch is.'],
        [Row('', pictures)], columns=8, few=4)
