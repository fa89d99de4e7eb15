"""Sections of a page of pictures, and the same pictures as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from .page import Picture, embedded, figure


@dataclass(frozen=True)
class Row:
    """The pictures of one image.

    Attributes:
        name: Of the image; '' if the captions tell.
        pictures: In order.
    """

    name: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Section:
    """Pictures with a heading.

    Attributes:
        key: Folder of its files.
        title: Heading.
        text: Paragraphs: what one sees, and how to read it.
        rows: One per image.
        legend: HTML from :func:`amt_mm.visualization.page.legend`.
        columns: Pictures side by side on a wide screen; 0 for large ones, which scroll on a
            phone.
        few: Pictures side by side on a phone.
    """

    key: str
    title: str
    text: Sequence[str]
    rows: Sequence[Row] = ()
    legend: str = ''
    columns: int = 6
    few: int = 3

    def html(self, quality: int) -> str:
        """Return the section with its pictures as JPEG of a quality."""
        text = ''.join(f'<p class="text">{escape(paragraph)}</p>' for paragraph in self.text)
        rows = ''.join(self._row(row, quality) for row in self.rows)
        if not self.columns:
            rows = f'<div class="sheets">{rows}</div>'
        return f'<section><h2>{escape(self.title)}</h2>{text}{self.legend}{rows}</section>'

    def _row(self, row: Row, quality: int) -> str:
        heading = f'<h3>{escape(row.name)}</h3>' if row.name else ''
        if self.columns:
            pictures = ''.join(figure(row.name, picture, quality) for picture in row.pictures)
            body = (f'<div class="strip" style="--columns:{self.columns};--few:{self.few}">'
                    f'{pictures}</div>')
        else:
            body = ''.join(_sheet(row.name, picture, quality) for picture in row.pictures)
        return f'<article>{heading}{body}</article>'

    def save(self, folder: Path) -> int:
        """Write the pictures to ``folder/key/ROW_COLUMN_CAPTION.png`` and return their number.

        Those of an earlier page there are removed: captions, and so names, may differ.
        """
        for old in (folder / self.key).glob('[0-9][0-9]_[0-9][0-9]_*.png'):
            old.unlink()
        written = 0
        for number, row in enumerate(self.rows, start=1):
            for place, picture in enumerate(row.pictures, start=1):
                name = re.sub(r'[^a-z0-9]+', '-', picture.caption.lower()).strip('-')[:40]
                path = folder / self.key / f'{number:02d}_{place:02d}_{name}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.image).save(path)
                written += 1
        return written


def _sheet(name: str, picture: Picture, quality: int) -> str:
    # Smaller, its parts could not be told apart; a phone scrolls it.
    least = round(0.6 * picture.image.shape[1])
    image = embedded(picture.image, f'{name}: {picture.caption}', quality)
    return f'<div class="sheet"><figure style="min-width:{least}px">{image}</figure></div>'
