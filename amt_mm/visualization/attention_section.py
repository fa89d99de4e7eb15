"""Section: attention of [CLS] in all blocks and heads."""

from __future__ import annotations

import numpy as np

from amt_mm.saliency import cls_attention

from .attention_sheet import attention_sheet
from .page import Picture, colour_scale, legend
from .sections import Row, Section
from .shown import Shown

_TITLE = 'Where [CLS] looks'


def attention_section(shown: Shown, most: int = 3) -> Section:
    """Show the attention of [CLS] to the patches of some images.

    Args:
        shown: The images.
        most: Number of images, since each takes a large sheet, spread over all of them. Defaults to
            3.

    Returns:
        The section; one sentence for an encoder without [CLS].

    Raises:
        InputError: The encoder's attention is not finite.
    """
    if not shown.has_cls:
        return Section('attention', _TITLE, ['This encoder has no [CLS] token, so there is no '
                                             'attention of it to show.'])
    # Images are in the order of their classes.
    count = len(shown.names)
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    attention = cls_attention(shown.vit, shown.inputs[chosen], 'mean')  # (B, blocks * heads, N)
    blocks = len(shown.vit.layers)
    maps = attention.unflatten(2, shown.grid).unflatten(1, (blocks, -1)).cpu().numpy()
    images = shown.images
    rows = [Row(shown.names[i], [Picture('attention by block and head',
                                         attention_sheet(images[i], sheet))])
            for i, sheet in zip(chosen, maps, strict=True)]
    return Section(
        'attention', _TITLE,
        ['How [CLS] divides its attention over the patches: a row for each block, the first on '
         'top, and a column for each head. Each map is stretched to its own range, so compare '
         'places, not strengths.',
         'AMT and AttMask are guided by the mean over the last row.'],
        rows, legend(colour_scale('attention', 'low to high, in each map')), columns=0)
