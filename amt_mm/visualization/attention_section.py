"""Section: attention of [CLS] in all blocks and heads."""

from __future__ import annotations

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
        most: Number of images, since each takes a large sheet. Defaults to 3.

    Returns:
        The section; one sentence for an encoder without [CLS].

    Raises:
        InputError: The encoder's attention is not finite.
    """
    if not shown.has_cls:
        return Section('attention', _TITLE, ['This encoder has no [CLS] token, so there is no '
                                             'attention of it to show.'])
    inputs = shown.inputs[:most]
    attention = cls_attention(shown.vit, inputs, 'mean')  # (B, blocks * heads, N)
    blocks = len(shown.vit.layers)
    maps = attention.unflatten(2, shown.grid).unflatten(1, (blocks, -1)).cpu().numpy()
    rows = [Row(name, [Picture('attention by block and head', attention_sheet(image, sheet))])
            for name, image, sheet in zip(shown.names, shown.images, maps, strict=False)]
    return Section(
        'attention', _TITLE,
        ['How [CLS] divides its attention over the patches: a row for each block, the first on '
         'top, and a column for each head. Each map is stretched to its own range, so compare '
         'places, not strengths.',
         'AMT and AttMask are guided by the mean over the last row.'],
        rows, legend(colour_scale('attention', 'low to high, in each map')), columns=0)
