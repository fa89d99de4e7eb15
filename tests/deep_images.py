"""Images that are no photographs, written in their true formats by the libraries of each."""

import cv2
import numpy as np
import pydicom
import tifffile
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def values(shape, dtype, high, low=0, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write_bands(path, bands, **kwargs):
    """A TIFF as rasterio writes it: one plane after another, `bands` (C, H, W)."""
    planes = 'separate' if len(bands) > 1 else None
    tifffile.imwrite(path, bands, photometric='minisblack', planarconfig=planes, **kwargs)


def write_16_bit_png(path, grey):
    assert cv2.imwrite(str(path), grey)


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
