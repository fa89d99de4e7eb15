"""Read the values of DICOM files, whole or frame by frame."""

from __future__ import annotations

import io
import zlib
from typing import IO, TYPE_CHECKING

import numpy as np

from .download.unpacking import most_unpacked
from .loading import refuse_bomb
from .optional_packages import optional
from .tiff import inverted

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM = ('.dcm', '.dicom', '.ima')
# Bytes unpacked at once.
_BLOCK = 1 << 20


def is_dicom(start: bytes) -> bool:
    """Whether these are the first bytes of a DICOM file, whatever its extension."""
    return start[128:132] == b'DICM'


def read_dicom(content: bytes) -> np.ndarray:
    """Read all frames, ``(frames, H, W, C)``."""
    dataset = _open_dicom(io.BytesIO(content))
    from pydicom.pixels import pixel_array
    if 'PixelData' not in dataset:
        raise ValueError('a DICOM file without pixels')
    frames = int(dataset.get('NumberOfFrames') or 1)
    refuse_bomb(dataset.Rows * frames, dataset.Columns)
    # RGB also where the file has luma and chroma.
    return _dicom_values(pixel_array(dataset), dataset, frames)


def count_dicom_frames(path: str) -> int:
    """Number of frames that the header of a file says."""
    with open(path, 'rb') as file:
        tags = _open_dicom(file, stop_before_pixels=True, specific_tags=['NumberOfFrames'])
    return int(tags.get('NumberOfFrames') or 1)


def read_dicom_frame(path: str, index: int) -> np.ndarray | None:
    """Read one frame, ``(H, W, C)``; None if there is no such frame."""
    with open(path, 'rb') as file:
        dataset = _open_dicom(file, stop_before_pixels=True)
    from pydicom.pixels import pixel_array
    if index >= int(dataset.get('NumberOfFrames') or 1):
        return None
    refuse_bomb(dataset.Rows, dataset.Columns)
    return _dicom_values(pixel_array(path, index=index), dataset, 1)[0]


def _open_dicom(file: IO[bytes], **options) -> Dataset:
    """Read DICOM by ``pydicom.dcmread``, after a look at how much a deflated file unpacks to.

    Raises:
        ValueError: More than an archive may.
        Exception: Of any type, with the reason why the file cannot be read.
    """
    pydicom = optional('pydicom', 'DICOM files')
    from pydicom.filereader import read_dataset, read_preamble
    read_preamble(file, force=False)
    # The group of the format itself is never deflated.
    kind = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if kind.get('TransferSyntaxUID') == pydicom.uid.DeflatedExplicitVRLittleEndian:
        _refuse_inflated(file)
    file.seek(0)
    return pydicom.dcmread(file, **options)


def _refuse_inflated(file: IO[bytes]) -> None:
    start = file.tell()
    left = most_unpacked(file.seek(0, io.SEEK_END) - start)
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while block := file.read(_BLOCK):
        while block:
            left -= len(inflater.decompress(block, _BLOCK))
            block = inflater.unconsumed_tail
            if left < 0:
                raise ValueError('deflated, and unpacks to more than a hundred times its size')


def _dicom_values(array: np.ndarray, dataset: Dataset, frames: int) -> np.ndarray:
    """Return stored values in the units of the file, ``(frames, H, W, C)``, bright ones high."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut
    if dataset.PhotometricInterpretation == 'MONOCHROME1':
        array = inverted(array, dataset.BitsStored)
    samples = dataset.SamplesPerPixel
    if dataset.PhotometricInterpretation == 'PALETTE COLOR':
        array, samples = apply_color_lut(array, dataset), 3
    elif samples == 1:
        array = apply_modality_lut(array, dataset)
    return array.reshape(frames, dataset.Rows, dataset.Columns, samples)
