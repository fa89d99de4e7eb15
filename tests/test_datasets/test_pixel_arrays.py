"""What is read equals what was written, and what tifffile, pydicom and OpenCV read."""

import io
import struct
import sys
import tracemalloc
import zipfile
from importlib.util import find_spec
from itertools import product

import cv2
import numpy as np
import pydicom
import pytest
import tifffile
from deep_images import deep_png, values, write_16_bit_png, write_bands, write_dicom
from PIL import Image, ImageOps

from amt_mm.datasets.download import unpacking
from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.loading import decode_image
from amt_mm.datasets.pixel_arrays import read_pixels
from amt_mm.errors import InputError


def read(path, **kwargs):
    return read_pixels(path.read_bytes(), str(path), **kwargs)


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


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_16_bits_of_a_png_stay(tmp_path, channels):
    image = values((5, 7, channels), 'uint16', 4096)
    write_16_bit_png(tmp_path / 'a.png', image)  # OpenCV has blue first
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    found = read(tmp_path / 'a.png')
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image[:, :, order])


@pytest.mark.parametrize('colour_type', [0, 2, 4, 6])
def test_channels_of_a_deep_png_are_those_of_its_header(colour_type):
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    image = values((5, 7, samples), 'uint16', 65536)
    # A colour that is to be transparent is no channel, as in 8 bits.
    key = image[0, 0].astype('>u2').tobytes() if colour_type < 4 else None
    for chunks in ({}, {b'tRNS': key} if key else {}):
        content = deep_png(image, colour_type, chunks)
        np.testing.assert_array_equal(read_pixels(content, 'a.png'), image)


@pytest.mark.parametrize('orientation', range(10))
@pytest.mark.parametrize('chunk', [b'eXIf', b'iTXt'])
def test_a_deep_png_is_turned_as_others(orientation, chunk):
    image = values((5, 7), 'uint8', 256)
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunks = {chunk: exif.tobytes()[6:] if chunk == b'eXIf' else (
        b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="%d"' % orientation)}
    deep = read_pixels(deep_png(image * np.uint16(257), 0, chunks), 'a.png')
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'png', exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(deep[:, :, 0], upright * np.uint16(257))


@pytest.mark.parametrize('name', ['a.png', 'a.jp2', 'a.pgm'])
def test_a_deep_image_beyond_the_limit_is_not_decoded(tmp_path, monkeypatch, name):
    write_16_bit_png(tmp_path / name, values((50, 70), 'uint16', 4096))
    assert read(tmp_path / name).shape == (50, 70, 1)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50 * 70 // 2 - 1)
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(Image.DecompressionBombError):
        read(tmp_path / name)


def test_frames_of_more_than_8_bits_are_not_dropped():
    image = values((5, 7, 1), 'uint16', 65536)
    # Two frames, the first one that of the image itself.
    control = struct.pack('>IIIIIHHBB', 0, 7, 5, 0, 0, 1, 10, 0, 0)
    content = deep_png(image, 0, {b'acTL': struct.pack('>II', 2, 0), b'fcTL': control})
    with pytest.raises(ValueError, match='animation of more than 8 bits'):
        read_pixels(content, 'a.png', pages=0)


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'LA'])
def test_8_bits_are_as_pillow_has_them(tmp_path, mode):
    image = Image.fromarray(values((5, 7, 4), 'uint8', 256), 'RGBA').convert(mode)
    image.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read(tmp_path / 'a.png'),
                                  np.asarray(image).reshape(5, 7, len(mode)))


def test_a_palette_is_colours_and_a_turned_photograph_is_turned(tmp_path):
    image = Image.fromarray(values((5, 7, 3), 'uint8', 256)).quantize(4)
    image.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read(tmp_path / 'a.png'), np.asarray(image.convert('RGB')))
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(values((5, 7), 'uint8', 256))
    grey.save(tmp_path / 'b.png', exif=exif)
    np.testing.assert_array_equal(read(tmp_path / 'b.png')[:, :, 0],
                                  np.rot90(np.asarray(grey), -1))


def test_frames_of_an_animation_are_pages(tmp_path):
    frames = [Image.fromarray(np.full((5, 7), value, np.uint8)) for value in (3, 90)]
    frames[0].save(tmp_path / 'a.png', save_all=True, append_images=frames[1:])
    assert read(tmp_path / 'a.png', pages='channels')[2, 2].tolist() == [3, 90]


@pytest.mark.parametrize(('shape', 'options', 'order'), [
    ((5, 7), {}, None), ((5, 7, 3), {}, None), ((3, 5, 7), {}, (1, 2, 0)),
    ((3, 5, 3), {'channel_axis': 0}, (1, 2, 0)), ((5, 7, 9), {'channel_axis': -1}, None)])
@pytest.mark.parametrize('suffix', ['npy', 'npz'])
def test_arrays(tmp_path, shape, options, order, suffix):
    array = values(shape, 'int32', 4000, low=-4000)
    (np.save if suffix == 'npy' else np.savez)(tmp_path / f'a.{suffix}', array)
    wanted = array.transpose(order) if order else array.reshape(*shape[:2], -1)
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}', **options), wanted)


@pytest.mark.parametrize('array', [np.zeros(3), np.zeros((2, 3, 4, 5)), np.array([['a']])])
def test_other_arrays_are_no_images(tmp_path, array):
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(ValueError, match='is not an image'):
        read(tmp_path / 'a.npy')


def test_an_array_runs_no_code(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match='pickle'):
        read(tmp_path / 'a.npy')


@pytest.mark.parametrize('suffix', ['npy', 'npz'])
@pytest.mark.parametrize(('descr', 'shape'), [('<u2', (100_000, 100_000)),
                                              ('|V2000000000', (2, 5))])
def test_an_array_takes_no_more_memory_than_its_file_may_ask_for(descr, shape, suffix):
    # Of some bytes, and refused before memory for 20 GB is asked for.
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, dict(descr=descr, fortran_order=False, shape=shape))
    content = file.getvalue()
    if suffix == 'npz':
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('a.npy', content)
        content = file.getvalue()
    with pytest.raises(Image.DecompressionBombError):
        read_pixels(content, f'a.{suffix}')


def test_a_header_is_not_read_for_long():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', np.lib.format.magic(2, 0) + struct.pack('<I', 1 << 27)
                         + bytes(1 << 27))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match='header'):
            read_pixels(file.getvalue(), 'a.npz')
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize('name', ['a.tif', 'a.dcm', 'a.png', 'a.npy'])
def test_half_a_file_is_refused(tmp_path, name):
    image = values((50, 70), 'uint16', 4096)
    {'a.tif': tifffile.imwrite, 'a.dcm': write_dicom, 'a.png': write_16_bit_png,
     'a.npy': np.save}[name](tmp_path / name, image)
    content = (tmp_path / name).read_bytes()
    with pytest.raises(Exception, match=r'.') as error:
        read_pixels(content[:len(content) // 2], name)
    assert not isinstance(error.value, InputError)
    with pytest.raises(ValueError, match='empty'):
        read_pixels(b'', name)


@pytest.mark.parametrize(('name', 'package'), [
    ('a.tif', 'tifffile'), ('a.dcm', 'pydicom'), ('b.tif', 'imagecodecs')])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, package):
    image = values((5, 7), 'uint16', 99)
    if package == 'imagecodecs':
        if find_spec(package):
            pytest.skip('tifffile has taken it already')
        Image.fromarray(image).save(tmp_path / name, compression='tiff_lzw')
    else:
        (write_dicom if package == 'pydicom' else tifffile.imwrite)(tmp_path / name, image)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"need {package}: pip install 'amt_mm\[images\]'"):
        read(tmp_path / name)


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


@pytest.mark.parametrize('name', ['a.npy', 'a.tif'])
@pytest.mark.parametrize(('shape', 'refused'), [
    ((6, 5, 7), None), ((9, 5, 7), r'315 values of 1 byte\(s\)'), ((1, 9, 12), '12 x 9 pixels')])
def test_many_channels_are_not_many_pixels(tmp_path, monkeypatch, name, shape, refused):
    # At most 100 pixels and, in all channels, 300 values.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50)
    bands = values(shape, 'uint8', 256)
    (np.save if name == 'a.npy' else write_bands)(tmp_path / name, bands)
    # As the only frame of its file.
    if name == 'a.npy':
        np.save(tmp_path / 'frame.npy', bands.transpose(1, 2, 0)[None])
    frame = tmp_path / ('frame.npy' if name == 'a.npy' else name)
    for how in (lambda: read(tmp_path / name), lambda: read_frame(str(frame), 0)):
        if refused:
            with pytest.raises(Image.DecompressionBombError, match=f'its header says {refused}'):
                how()
        else:
            np.testing.assert_array_equal(how(), bands.transpose(1, 2, 0))
