"""Pieces of self-contained HTML pages: the document, pictures, legends, details."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from ..errors import InputError
from ..masking.plan import MASKED, THROWN, VISIBLE
from ..printable import printable
from .colours import colour_table
from .pictures import plan_picture
from .report_style import STYLE
from .tables import MISSING

_QUALITIES = (88, 78, 65, 50, 35)
_MEANINGS = {VISIBLE: ('visible', 'the encoder sees it'),
             MASKED: ('masked', 'hidden, to be predicted'),
             THROWN: ('thrown', 'left out altogether')}


@dataclass(frozen=True)
class Picture:
    """A captioned picture.

    Attributes:
        caption: Such as ``'attention, epoch 40'``.
        image: (H, W, 3) uint8 RGB, or None if there is none.
    """

    caption: str
    image: np.ndarray | None


def render_within(page: Callable[[int], str], max_bytes: int) -> str:
    """Render a page at the highest of five JPEG qualities that keeps it within a limit.

    Args:
        page: From the quality to the HTML.
        max_bytes: Upper limit of the page in UTF-8.

    Returns:
        The HTML, with control characters of terminals escaped.

    Raises:
        InputError: The page exceeds the limit even at the lowest quality.
    """
    for quality in _QUALITIES:
        text = printable(page(quality))
        size = len(text.encode())
        if size <= max_bytes:
            return text
    raise InputError(f'the report takes {size} bytes, more than {max_bytes}; '
                     'show fewer or smaller images, or shorten the details')


def document(title: str, explanation: Sequence[str], sections: Sequence[str]) -> str:
    """Return a page that loads no other resource.

    Args:
        title: Its heading, as text.
        explanation: Paragraphs under the title, as text.
        sections: The rest, as HTML.
    """
    paragraphs = ''.join(f'<p>{escape(text)}</p>' for text in explanation)
    title = escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Makes the browser refuse to load anything from elsewhere.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f'<link rel="icon" href="data:,"><title>{title}</title>'
        f'<style>{STYLE}</style></head>\n'
        f'<body><main><header><h1>{title}</h1>{paragraphs}</header>\n'
        + '\n'.join(sections)
        + '\n</main></body></html>\n'
    )


def figure(name: str, picture: Picture, quality: int) -> str:
    """Return a picture of the image ``name`` with its caption, or a dash in its place."""
    caption = escape(picture.caption)
    if picture.image is None:
        content = f'<div class="missing">{MISSING}</div>'
    else:
        description = ': '.join(filter(None, (name, picture.caption)))
        content = embedded(picture.image, description, quality)
    return f'<figure>{content}<figcaption>{caption}</figcaption></figure>'


def embedded(image: np.ndarray, description: str, quality: int) -> str:
    """Return an image, (H, W, 3) uint8, as a JPEG within the page."""
    height, width = image.shape[:2]
    buffer = io.BytesIO()
    # No chroma subsampling: it would smear colours across the borders of small tokens.
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality, subsampling=0, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" '
            f'alt="{escape(description)}">')


def legend(*items: str) -> str:
    """Return a legend of :func:`state_samples` and :func:`colour_scale`."""
    return f'<ul class="legend">{"".join(items)}</ul>'


def state_samples(patch: np.ndarray | None,
                  states: Sequence[int] = (VISIBLE, MASKED, THROWN)) -> str:
    """Return a sample of each token state on an image, (H, W, 3) uint8, or on grey."""
    if patch is None:
        patch = np.full((2, 2, 3), 128, dtype=np.uint8)
    looks = []
    for state in states:
        word, meaning = _MEANINGS[state]
        sample = np.asarray(Image.fromarray(patch).resize((48, 48)))
        drawn = plan_picture(sample, np.full(4, state), (2, 2))
        looks.append(f'<li>{embedded(drawn, "", 90)}<span><b>{word}</b> {meaning}</span></li>')
    return ''.join(looks)


def colour_scale(word: str, meaning: str) -> str:
    """Return the colour map as a ramp from dark to bright, with its meaning."""
    stops = ','.join(f'rgb({r} {g} {b})' for r, g, b in colour_table()[::51].tolist())
    return (f'<li><i class="ramp" style="background:linear-gradient(90deg,{stops})"></i>'
            f'<span><b>{escape(word)}</b> {escape(meaning)}</span></li>')


def details_section(details: Mapping[str, str]) -> str:
    """Return the section of names and values; values of several lines are collapsed."""
    entries = ''.join(_detail(name, value) for name, value in details.items())
    return f'<section><h2>Details</h2><dl class="details">{entries}</dl></section>'


def _detail(name: str, value: str) -> str:
    name, text = escape(name), escape(str(value))
    if '\n' in text.strip():
        text = f'<details><summary>show</summary><pre>{text}</pre></details>'
    return f'<dt>{name}</dt><dd>{text}</dd>'
