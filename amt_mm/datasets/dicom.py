"""Read the values of DICOM files, whole or frame by frame."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
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
    return _dicom_values(pixel_array(dataset), dataset, range(frames))


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
    if _is_deflated(dataset.file_meta):
        # pydicom looks for single frames in the file as it is.
        with open(path, 'rb') as file:
            return read_dicom(file.read())[index]
    refuse_bomb(dataset.Rows, dataset.Columns)
    return _dicom_values(pixel_array(path, index=index), dataset, [index])[0]


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
    if _is_deflated(kind):
        _refuse_inflated(file)
    file.seek(0)
    return pydicom.dcmread(file, **options)


def _is_deflated(kind: Dataset) -> bool:
    from pydicom.uid import DeflatedExplicitVRLittleEndian
    return kind.get('TransferSyntaxUID') == DeflatedExplicitVRLittleEndian


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


def _dicom_values(array: np.ndarray, dataset: Dataset, frames: Sequence[int]) -> np.ndarray:
    """Return stored values in the units of the file, ``(frames, H, W, C)``, bright ones high."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut
    samples = dataset.SamplesPerPixel
    table = dataset.get('ModalityLUTSequence')
    low_is_white = dataset.PhotometricInterpretation == 'MONOCHROME1'
    if low_is_white and not table:
        array = inverted(array, dataset.BitsStored)
    if dataset.PhotometricInterpretation == 'PALETTE COLOR':
        array, samples = apply_color_lut(array, dataset), 3
    array = array.reshape(len(frames), dataset.Rows, dataset.Columns, samples)
    if samples > 1:
        return array
    array = np.stack([apply_modality_lut(values, _transformation(dataset, frame))
                      for values, frame in zip(array, frames, strict=True)])
    if low_is_white and table:
        # A table is of stored values, and need not be symmetric.
        count, first, _ = table[0].LUTDescriptor
        entries = apply_modality_lut(np.arange(count or 2**16) + first, dataset)
        array = entries.max() - (array - entries.min())
    return array


def _transformation(dataset: Dataset, frame: int) -> Dataset:
    """Return the part with slope and intercept of a frame: enhanced files have groups for them."""
    own = (dataset.get('PerFrameFunctionalGroupsSequence') or [])[frame:frame + 1]
    shared = (dataset.get('SharedFunctionalGroupsSequence') or [])[:1]
    return next((group.PixelValueTransformationSequence[0] for group in [*own, *shared]
                 if group.get('PixelValueTransformationSequence')), dataset)
