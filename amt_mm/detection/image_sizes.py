"""The sizes of image files against those in the annotation file, before training starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log

from amt_mm.datasets.loading import format_sizes, refuse_pipe
from amt_mm.datasets.open_picture import exif_orientation, open_picture

from .annotation_faults import Findings, format_ids

# EXIF orientations that exchange height and width.
_QUARTER_TURNS = (5, 6, 7, 8)
# Tags of a TIFF.
_WIDTH, _LENGTH = 256, 257
# Waiting for a disk, not computing.
_THREADS = 16


def check_image_sizes(path: str, data: Sequence[Mapping]) -> None:
    """Compare the size of each image file with that of its annotation.

    :class:`amt_mm.LoadImage` refuses an image that does not fit, and does not turn one that was
    labelled without its EXIF orientation. This finds the first kind before training and counts
    the second. Unreadable files are left to :class:`amt_mm.LoadImage`, those on another
    machine too.

    Reads headers only, in the main process.

    Args:
        path: Annotation file, for the messages.
        data: Samples with ``img_path``, ``img_id``, ``height``, ``width``.

    Raises:
        InputError: Names up to ten images whose size differs.
    """
    if not data or not is_main_process() or not isinstance(
            get_file_backend(data[0]['img_path'], enable_singleton=True), LocalBackend):
        return
    findings, unturned = Findings(path), []
    with ThreadPoolExecutor(_THREADS) as pool:
        for sample, sizes in zip(data, pool.map(_read_sizes, (
                sample['img_path'] for sample in data)), strict=True):
            wanted = sample['height'], sample['width']
            if sizes is None or wanted == sizes[0]:
                continue
            if wanted == sizes[1]:
                unturned.append(sample['img_id'])
            else:
                findings.fault(f'image {sample["img_id"]}',
                               f'`height` and `width` are {wanted[0]} x {wanted[1]}, but '
                               f'{sample["img_path"]} has {format_sizes(*sizes)}')
    findings.stop_at_faults()
    if unturned:
        print_log(f'annotation file {path}: labelled without the EXIF orientation, so these images '
                  f'are not rotated: {format_ids(unturned)}', 'current', logging.WARNING)


def _read_sizes(path: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Height and width with the EXIF orientation and as stored; None for an unreadable file."""
    try:
        refuse_pipe(path)
        with open(path, 'rb') as file, open_picture(file) as image:
            # Pillow turns TIFFs, and in some versions their size.
            stored = ((image.tag_v2[_LENGTH], image.tag_v2[_WIDTH]) if image.format == 'TIFF' else
                      (image.height, image.width))
            turned = exif_orientation(image) in _QUARTER_TURNS
    except Exception:  # decoders raise anything on broken files
        return None
    return stored[::-1] if turned else stored, stored
