"""JPEGs of one size and about one number of bytes, made from a folder of images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError


def make_jpegs(source: str | Path, target: Path, count: int, size: tuple[int, int], wanted: int
               ) -> float:
    """Make JPEGs of one size, each of the quality that takes about ``wanted`` bytes.

    Args:
        source: Folder of images.
        target: Folder to write to.
        count: How many.
        size: Width and height.
        wanted: Bytes of a file; smooth images have less, at quality 96.

    Returns:
        Their mean number of bytes.
    """
    found = ImageFolder(str(source), with_label=False)
    if len(found) < count:
        raise InputError(f'{source}: has {len(found)} images, {count} are needed; give --images '
                         f'{len(found)}')
    sizes = []
    for i in range(count):
        with Image.open(found.get_data_info(i)['img_path']) as image:
            photo = ImageOps.fit(image.convert('RGB'), size, Image.Resampling.LANCZOS)
        versions = []
        for quality in range(40, 97):
            file = io.BytesIO()
            photo.save(file, 'JPEG', quality=quality)
            versions.append(file.getvalue())
            if len(versions[-1]) >= wanted:
                break
        nearest = min(versions[-2:], key=lambda content: abs(len(content) - wanted))
        (target / f'{i:04d}.jpg').write_bytes(nearest)
        sizes.append(len(nearest))
    return float(np.mean(sizes))
