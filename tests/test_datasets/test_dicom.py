"""DICOM: pixels in their own units, as pydicom reads them."""

import numpy as np
import pydicom
import pytest
from deep_images import read, values, write_dicom

from amt_mm.datasets.download import unpacking
from amt_mm.datasets.frames import read_frame


@pytest.mark.parametrize('dtype', ['uint16', 'int16'])
def test_ct_is_in_its_own_units(tmp_path, dtype):
    stored = values((5, 7), dtype, 2048)
    write_dicom(tmp_path / 'a.dcm', stored, slope=2, intercept=-1024)
    found = read(tmp_path / 'a.dcm')
    np.testing.assert_array_equal(found[:, :, 0], stored * 2.0 - 1024)
    dataset = pydicom.dcmread(tmp_path / 'a.dcm')
    np.testing.assert_array_equal(
        found[:, :, 0], pydicom.pixels.apply_rescale(dataset.pixel_array, dataset))


def test_dicom_is_known_without_its_extension_and_frames_are_pages(tmp_path):
    stored = values((3, 5, 7), 'uint16', 4096)
    write_dicom(tmp_path / 'IM0001', stored)
    np.testing.assert_array_equal(read(tmp_path / 'IM0001', pages=2)[:, :, 0], stored[2])


def test_bright_is_high_in_every_x_ray(tmp_path):
    stored = values((5, 7), 'uint16', 4096)
    write_dicom(tmp_path / 'a.dcm', stored, photometric='MONOCHROME1')
    np.testing.assert_array_equal(read(tmp_path / 'a.dcm')[:, :, 0], 4095.0 - stored)


@pytest.mark.parametrize(('dtype', 'first'), [('uint16', 0), ('int16', -2048)])
def test_a_table_of_an_x_ray_is_of_its_stored_values(tmp_path, dtype, first):
    places = np.array([[0, 65, 2080, 4095]])
    stored = (places + first).astype(dtype)
    table = (100 * np.sqrt(np.arange(4096)) + 7).astype(np.uint16)
    write_dicom(tmp_path / 'a.dcm', stored, photometric='MONOCHROME1')
    file = pydicom.dcmread(tmp_path / 'a.dcm')
    item = pydicom.Dataset()
    item.add_new('LUTDescriptor', 'SS', [len(table), first, 16])
    item.add_new('ModalityLUTType', 'LO', 'US')
    item.add_new('LUTData', 'OW', table.tobytes())
    file.ModalityLUTSequence = [item]
    file.save_as(tmp_path / 'a.dcm')
    for found in (read(tmp_path / 'a.dcm'), read_frame(str(tmp_path / 'a.dcm'), 0)):
        np.testing.assert_array_equal(
            found[:, :, 0], table.max() + table.min() - table[places])


def test_frames_of_an_enhanced_ct_are_in_its_own_units(tmp_path):
    def group(slope, intercept):
        item, transformation = pydicom.Dataset(), pydicom.Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, intercept
        item.PixelValueTransformationSequence = [transformation]
        return item

    stored = values((3, 5, 7), 'uint16', 4096)
    write_dicom(tmp_path / 'a.dcm', stored)
    file = pydicom.dcmread(tmp_path / 'a.dcm')
    del file.RescaleSlope, file.RescaleIntercept
    file.SharedFunctionalGroupsSequence = [group(2, -1024)]
    file.PerFrameFunctionalGroupsSequence = [pydicom.Dataset(), group(.5, 3), pydicom.Dataset()]
    file.save_as(tmp_path / 'a.dcm')
    for index, wanted in enumerate([stored[0] * 2. - 1024, stored[1] * .5 + 3,
                                    stored[2] * 2. - 1024]):
        for found in (read(tmp_path / 'a.dcm', pages=index),
                      read_frame(str(tmp_path / 'a.dcm'), index)):
            np.testing.assert_array_equal(found[:, :, 0], wanted)


def test_a_deflated_dicom_does_not_fill_the_memory(tmp_path, monkeypatch):
    write_dicom(tmp_path / 'a.dcm', np.zeros((1000, 500), np.uint16))
    file = pydicom.dcmread(tmp_path / 'a.dcm')
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / 'a.dcm')
    assert (tmp_path / 'a.dcm').stat().st_size < 10_000
    np.testing.assert_array_equal(read(tmp_path / 'a.dcm'), np.zeros((1000, 500, 1)))
    monkeypatch.setattr(unpacking, '_SMALL', 1 << 10)
    for how in (read, lambda path: read_frame(str(path), 0)):
        with pytest.raises(ValueError, match='unpacks to more than a hundred times its size'):
            how(tmp_path / 'a.dcm')


def test_a_palette_of_dicom_is_colours(tmp_path):
    stored, colours = values((2, 5, 7), 'uint16', 256), values((3, 256), 'uint16', 65536)
    write_dicom(tmp_path / 'a.dcm', stored, photometric='PALETTE COLOR')
    file = pydicom.dcmread(tmp_path / 'a.dcm')
    for colour, table in zip(('Red', 'Green', 'Blue'), colours, strict=True):
        file.add_new(f'{colour}PaletteColorLookupTableDescriptor', 'US', [256, 0, 16])
        file.add_new(f'{colour}PaletteColorLookupTableData', 'OW', table.tobytes())
    file.save_as(tmp_path / 'a.dcm')
    np.testing.assert_array_equal(read(tmp_path / 'a.dcm', pages=1), colours.T[stored[1]])
