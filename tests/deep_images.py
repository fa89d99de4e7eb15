"""Images that are no photographs, written in their true formats by the libraries of each."""

import struct
import zlib

import cv2
import numpy as np
import pydicom
import tifffile
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from amt_mm.datasets.pixel_arrays import read_pixels


def read(path, **kwargs):
    """Read a file as the package does."""
    return read_pixels(path.read_bytes(), str(path), **kwargs)


def values(shape, dtype, high, low=0, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write_bands(path, bands, **kwargs):
    """A TIFF as rasterio writes it: one plane after another, `bands` (C, H, W)."""
    planes = 'separate' if len(bands) > 1 else None
    tifffile.imwrite(path, bands, photometric='minisblack', planarconfig=planes, **kwargs)


def write_16_bit_png(path, grey):
    assert cv2.imwrite(str(path), grey)


def deep_png(image, colour_type, chunks=None):
    """Content of a PNG of 16 bits, of `image` (H, W, samples): libraries write few of its kinds."""
    rows = image.reshape(len(image), -1).astype('>u2').view(np.uint8)
    header = struct.pack('>IIBBBBB', image.shape[1], len(image), 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    chunks = {b'IHDR': header, **(chunks or {}), b'IDAT': pixels, b'IEND': b''}
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks.items())


def write_dicom(path, stored, slope=1, intercept=0, photometric='MONOCHROME2', bits=12):
    """A CT slice, or frames, of `stored` (frames, H, W) or (H, W) in `bits` of 16."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=['a test'])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        file.NumberOfFrames = len(stored)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, photometric
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == 'i')
    file.RescaleSlope, file.RescaleIntercept = slope, intercept
    file.PixelData = stored.tobytes()
    file.save_as(path, enforce_file_format=True)
