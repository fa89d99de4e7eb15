"""Images that are no photographs of 8 bits: what their values are must be said, not guessed."""

from __future__ import annotations

import io
from importlib.util import find_spec
from itertools import islice

import numpy as np
from PIL import Image, ImageSequence

# TIFF: tags, the first bit of a page's kind, samples that a photometric kind has, and alpha.
_SUBFILE, _PHOTOMETRIC, _SAMPLES, _EXTRA = 254, 262, 277, 338
_REDUCED = 1
# Pages of a TIFF that are looked at; overviews are fewer.
_MOST_PAGES = 100
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_ALPHA = (1, 2)


class UnclearPixelsError(ValueError):
    """An intact image that is not an 8-bit photograph."""


def refuse_unclear_tiff(image: Image.Image) -> None:
    """Refuse pages and samples that are neither colours nor alpha."""
    # Pillow's time grows with the square of their number. Thumbnails and overviews are pages, too.
    first = islice(ImageSequence.Iterator(image), _MOST_PAGES)
    pages = sum(not frame.tag_v2.get(_SUBFILE, 0) & _REDUCED for frame in first)
    if pages > 1:
        more = ' or more' * (pages == _MOST_PAGES)
        raise UnclearPixelsError(f'has {pages}{more} pages, which may be channels or frames')
    image.seek(0)
    tags = image.tag_v2
    samples, colours = tags.get(_SAMPLES, 1), _COLOURS.get(tags.get(_PHOTOMETRIC), 3)
    extra = tags.get(_EXTRA, ())
    if samples > colours + sum(kind in _ALPHA for kind in extra):
        raise UnclearPixelsError(f'has {samples} channels, of which {colours} are colours and '
                                 'the rest is not marked as alpha')


def high_byte(image: Image.Image, file_format: str | None) -> Image.Image:
    """Convert 16-bit grey to 8 bits."""
    # Pillow stores 16-bit grey of some formats as 32-bit integers; others have no known maximum.
    if image.mode == 'I' and file_format not in ('PNG', 'PPM'):
        raise UnclearPixelsError(f'{value_range(image)}, not of 8 or 16 bits')
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def value_range(image: Image.Image) -> str:
    """Say what values an image has."""
    values = np.asarray(image)
    return f'has values from {values.min():g} to {values.max():g}'


def unknown_tiff(content: bytes) -> str:
    """Say what is in a TIFF that Pillow cannot read; it may be damaged, too."""
    if not find_spec('tifffile'):
        raise ValueError("truncated, or a kind of TIFF that needs tifffile: pip install "
                         "'amt_mm[images]'")
    import tifffile
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            kinds = [f'{entry.dtype} of {" x ".join(map(str, entry.shape))} ({entry.axes})'
                     for entry in file.series]
            file.asarray()  # fails if the values are not all there
    except Exception as error:
        raise ValueError('truncated, or an unsupported kind of TIFF') from error
    return f'has values of {", ".join(kinds)}'
