"""TIFF: what is read equals what was written, and what tifffile, Pillow and OpenCV read."""

import io
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
from deep_images import read, values, write_bands
from PIL import Image

from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.loading import decode_image
from amt_mm.datasets.pixel_arrays import read_pixels
from amt_mm.errors import InputError


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
@pytest.mark.parametrize('options', [{}, {'compression': 'zlib'}, {'byteorder': '>'}])
def test_bands_of_a_tiff_are_channels(tmp_path, dtype, options):
    bands = values((6, 5, 7), dtype, 120, low=0)
    write_bands(tmp_path / 'a.tif', bands, **options)
    found = read(tmp_path / 'a.tif')
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, bands.transpose(1, 2, 0))
    np.testing.assert_array_equal(found, np.moveaxis(tifffile.imread(tmp_path / 'a.tif'), 0, 2))


def test_samples_of_a_pixel_are_channels_and_none_is_transparency(tmp_path):
    image = values((5, 7, 4), 'uint8', 256)
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='rgb', extrasamples=['unspecified'])
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), image)


def test_pages_are_what_the_user_says(tmp_path):
    stack = values((13, 5, 7), 'uint16', 4096)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        for page in stack:
            file.write(page, contiguous=False)
    with pytest.raises(InputError, match=r'a\.tif: has 13 pages .*pixels\.pages'):
        read(tmp_path / 'a.tif')
    np.testing.assert_array_equal(read(tmp_path / 'a.tif', pages='channels'),
                                  stack.transpose(1, 2, 0))
    np.testing.assert_array_equal(read(tmp_path / 'a.tif', pages=4)[:, :, 0], stack[4])
    with pytest.raises(InputError, match='none of index 13'):
        read(tmp_path / 'a.tif', pages=13)


def test_channels_of_a_microscope_are_no_pages(tmp_path):
    image = values((2, 3, 5, 7), 'uint16', 4096)
    tifffile.imwrite(tmp_path / 'a.tif', image, imagej=True, metadata={'axes': 'ZCYX'})
    np.testing.assert_array_equal(read(tmp_path / 'a.tif', pages=1), image[1].transpose(1, 2, 0))
    found = read(tmp_path / 'a.tif', pages='channels')
    np.testing.assert_array_equal(found, image.reshape(6, 5, 7).transpose(1, 2, 0))


def test_a_file_of_a_data_set_of_several_has_no_planes_of_others(tmp_path):
    channels = values((2, 5, 7), 'uint16', 4096)
    data = ''.join(f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1">'
                   f'<UUID FileName="{i}.ome.tif">urn:uuid:{i}</UUID></TiffData>' for i in (0, 1))
    for index, channel in enumerate(channels):
        xml = ('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
               f'UUID="urn:uuid:{index}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
               'DimensionOrder="XYCZT" Type="uint16" SizeX="7" SizeY="5" SizeC="2" SizeZ="1" '
               f'SizeT="1">{data}</Pixels></Image></OME>')
        tifffile.imwrite(tmp_path / f'{index}.ome.tif', channel, description=xml, metadata=None)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / '1.ome.tif'), channels)
    for index, channel in enumerate(channels):
        np.testing.assert_array_equal(read(tmp_path / f'{index}.ome.tif'), channel[:, :, None])


def test_pages_of_different_sizes_are_no_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(values((5, 7), 'uint16', 9), contiguous=False)
        file.write(values((9, 7), 'uint16', 9), contiguous=False)
    with pytest.raises(ValueError, match='different shapes'):
        read(tmp_path / 'a.tif', pages='channels')


@pytest.mark.parametrize('orientation', [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(('photometric', 'bits', 'byteorder'), [
    *product(['minisblack', 'miniswhite', 'rgb', 'palette'], [8], '<>'),
    # Of 16 bits, Pillow reads no palettes and no `miniswhite` whose high byte comes first.
    *product(['minisblack', 'rgb'], [16], '<>'), ('miniswhite', 16, '<')])
def test_a_tiff_looks_as_other_libraries_show_it(orientation, photometric, bits, byteorder):
    image = values((5, 7, 3)[:2 + (photometric == 'rgb')], f'uint{bits}', 2**bits)
    colours = values((3, 256), 'uint16', 65536) if photometric == 'palette' else None
    file = io.BytesIO()
    tifffile.imwrite(file, image, photometric=photometric, colormap=colours, byteorder=byteorder,
                     extratags=[(274, 'H', 1, orientation, True)])
    found = read_pixels(file.getvalue(), 'a.tif')
    assert found.dtype == image.dtype and found.shape[2] == (
        1 if photometric.startswith('minis') else 3)
    shown = np.broadcast_to(found >> bits - 8, (*found.shape[:2], 3))
    np.testing.assert_array_equal(shown, decode_image(file.getvalue())[:, :, ::-1])
    # OpenCV rounds colours of 16 bits.
    np.testing.assert_allclose(
        shown, cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB),
        rtol=0, atol=(bits, photometric) == (16, 'rgb'))


@pytest.mark.parametrize('dtype', ['uint16', 'int16', 'uint32'])
def test_bright_is_high_in_every_tiff(dtype):
    pages = values((2, 5, 7), dtype, 5000)
    file = io.BytesIO()
    tifffile.imwrite(file, pages, photometric='miniswhite')
    found = read_pixels(file.getvalue(), 'a.tif', pages=1)
    white = {'uint16': 65535, 'int16': -1, 'uint32': 2**32 - 1}[dtype]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:, :, 0].astype(int), white - pages[1].astype(int))


def test_only_grey_is_inverted_and_unknown_black_is_refused():
    image = values((5, 7, 2), 'uint8', 256)
    file = io.BytesIO()
    tifffile.imwrite(file, image, photometric='miniswhite', planarconfig='contig',
                     extrasamples=['unassalpha'])
    wanted = np.stack([255 - image[:, :, 0], image[:, :, 1]], -1)
    np.testing.assert_array_equal(read_pixels(file.getvalue(), 'a.tif'), wanted)
    file = io.BytesIO()
    tifffile.imwrite(file, image[:, :, 0].astype('float32'), photometric='miniswhite')
    with pytest.raises(ValueError, match='lowest value is white'):
        read_pixels(file.getvalue(), 'a.tif')


@pytest.mark.parametrize('photometric', ['ycbcr', 'cielab', 'icclab'])
def test_other_colours_are_not_taken_for_rgb(tmp_path, photometric):
    tifffile.imwrite(tmp_path / 'a.tif', values((5, 7, 3), 'uint8', 256), photometric=photometric)
    for how in (read, lambda path: read_frame(str(path), 0)):
        with pytest.raises(ValueError, match=f'{photometric.upper()} colours.*save it as RGB'):
            how(tmp_path / 'a.tif')


def test_luma_and_chroma_of_a_jpeg_are_rgb(tmp_path):
    pytest.importorskip('imagecodecs')
    image = np.broadcast_to(np.uint8([200, 30, 60]), (16, 16, 3))
    Image.fromarray(image).convert('YCbCr').save(tmp_path / 'a.tif', compression='jpeg')
    assert np.abs(read(tmp_path / 'a.tif') - image.astype(int)).max() < 5


@pytest.mark.parametrize('bits', [1, 4])
def test_few_bits_use_the_range_of_eight(bits):
    if bits > 1:
        pytest.importorskip('imagecodecs')
    values = np.random.default_rng(0).integers(0, 2**bits, (6, 16))
    # One row after another, the first pixel in the highest bits.
    packed = np.packbits((values[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8))
    for photometric, name in enumerate(['miniswhite', 'minisblack']):
        file = io.BytesIO()
        # Pillow reads and writes 4 bits as 8.
        tifffile.imwrite(file, packed.reshape(6, -1), photometric=name)
        content = bytearray(file.getvalue())
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            tags = tiff.pages[0].tags
            for tag, value in ((256, 16), (258, bits)):
                start = tags[tag].valueoffset
                content[start:start + 2] = value.to_bytes(2, 'little')
        found = read_pixels(bytes(content), 'a.tif')
        scaled = values * (255 // (2**bits - 1))
        np.testing.assert_array_equal(found[:, :, 0], scaled if photometric else 255 - scaled)
        np.testing.assert_array_equal(found[:, :, 0], np.asarray(
            Image.open(io.BytesIO(content)).convert('L')))


@pytest.mark.parametrize(('dtype', 'text', 'missing', 'found_dtype'), [
    ('float32', '-3.4028234663852886e+38', np.finfo('float32').min, 'float32'),
    ('float64', '-9999', -9999, 'float64'), ('int16', '-9999', -9999, 'float32'),
    ('uint16', '65535', 65535, 'float32'), ('int32', '-2147483648 ', -2**31, 'float64')])
def test_missing_pixels_of_a_raster_are_nan(tmp_path, dtype, text, missing, found_dtype):
    stack = values((2, 3, 5, 7), dtype, 400)
    stack[:, 1, 2, :4] = missing
    tifffile.imwrite(tmp_path / 'a.tif', stack, photometric='minisblack', planarconfig='separate',
                     metadata={'axes': 'QSYX'}, extratags=[(42113, 's', 0, text, True)])
    wanted = stack[1].transpose(1, 2, 0).astype(found_dtype)
    wanted[2, :4, 1] = np.nan
    for found in (read(tmp_path / 'a.tif', pages=1), read_frame(str(tmp_path / 'a.tif'), 1)):
        assert found.dtype == found_dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(('dtype', 'text'), [('uint8', '0'), ('int16', 'none')])
def test_a_raster_of_8_bits_or_without_a_number_for_missing_pixels_is_as_stored(dtype, text):
    image, file = values((5, 7), dtype, 9), io.BytesIO()
    tifffile.imwrite(file, image, extratags=[(42113, 's', 0, text, True)])
    found = read_pixels(file.getvalue(), 'a.tif')
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:, :, 0], image)


def test_tints_of_a_microscope_are_no_colours_and_palettes_of_pages_must_agree():
    stack, colours = values((2, 5, 7), 'uint8', 256), values((3, 256), 'uint16', 65536)
    file = io.BytesIO()
    tifffile.imwrite(file, stack, imagej=True, colormap=colours, metadata={'axes': 'CYX'})
    np.testing.assert_array_equal(read_pixels(file.getvalue(), 'a.tif'), stack.transpose(1, 2, 0))
    for second in (colours, colours[::-1]):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for page, own in zip(stack, (colours, second), strict=True):
                writer.write(page, photometric='palette', colormap=own, contiguous=False,
                             metadata=None)
        if second is colours:
            np.testing.assert_array_equal(
                read_pixels(file.getvalue(), 'a.tif', pages=1), (colours >> 8).T[stack[1]])
        else:
            with pytest.raises(ValueError, match='different colour maps'):
                read_pixels(file.getvalue(), 'a.tif', pages=1)


def test_opencv_reads_the_same_of_a_deep_tiff(tmp_path):
    image = values((5, 7), 'uint16', 65536)
    tifffile.imwrite(tmp_path / 'a.tif', image)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif')[:, :, 0],
                                  cv2.imread(str(tmp_path / 'a.tif'), cv2.IMREAD_UNCHANGED))


def test_pages_of_different_orientations_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        for orientation in (1, 3):
            file.write(values((5, 7), 'uint8', 9), metadata=None,
                       extratags=[(274, 'H', 1, orientation, True)])
    with pytest.raises(ValueError, match='its pages have different orientations'):
        read(tmp_path / 'a.tif', pages=1)
