"""Open pictures by Pillow, without PostScript."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture, whatever the name of its file.

    Args:
        file: To be closed by the caller.

    Raises:
        ValueError: It is PostScript (EPS), a program, which Pillow has Ghostscript run.
        Exception: Of any type, with the reason why the file is no picture.
    """
    image = Image.open(file)
    if image.format == 'EPS':
        raise ValueError('PostScript (EPS), which is a program, and code from a file is not run')
    return image
