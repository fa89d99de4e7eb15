"""Frames of one file as images of their own, against the values written and each library."""

import errno
import struct
import zlib
from unittest.mock import Mock

import numpy as np
import pydicom
import pytest
import tifffile
from deep_images import values, write_dicom
from PIL import Image

from amt_mm.datasets import (
    ImageFolder,
    LoadPixels,
    PackedImages,
    ReplaceBadImages,
    SegmentationFolder,
    dataset_fingerprint,
    pack,
)
from amt_mm.datasets import frames as frames_module
from amt_mm.datasets.frames import frame_names, read_frame, split_frame
from amt_mm.datasets.train_and_test import check_train_and_test, files_of_images
from amt_mm.errors import InputError, UnreadableImage

WINDOW = (0, 4096)
LOAD = [dict(type='amt_mm.LoadPixels', channels=1, window=WINDOW, pages='frames')]
STACK = values((5, 3, 7, 9), 'uint16', 4096)


def frames(path):
    """All frames of a file, read one by one."""
    names = frame_names(str(path), path.name)
    assert [split_frame(name) for name in names] == [(path.name, i) for i in range(len(names))]
    return [read_frame(str(path), index) for index in range(len(names))]


@pytest.mark.parametrize(('axes', 'options'), [
    ('TCYX', dict(imagej=True)),
    ('TCYX', dict(ome=True)),
    ('TCYX', dict(ome=True, compression='zlib')),
    ('CTYX', dict(ome=True, compression='zlib')),
    ('CZYX', dict(ome=True, byteorder='>')),
    ('CTYX', dict(ome=True, compression='zlib', tile=(16, 16))),
    ('TZYX', dict(photometric='minisblack', compression='zlib')),
    ('TZYX', dict(photometric='minisblack', bigtiff=True)),
    ('QSYX', dict(photometric='rgb', planarconfig='separate', compression='zlib')),
    ('TYXS', dict(photometric='rgb', compression='zlib')),
])
def test_frames_of_a_tiff(tmp_path, axes, options):
    stored = STACK.transpose(0, 2, 3, 1) if axes == 'TYXS' else STACK
    tifffile.imwrite(tmp_path / 'a.tif', stored, metadata=dict(axes=axes), **options)
    found = frames(tmp_path / 'a.tif')
    assert np.array_equal(tifffile.imread(tmp_path / 'a.tif'), stored)
    # Channels last, all else frames.
    wanted = {'TCYX': [each.transpose(1, 2, 0) for each in stored],
              'QSYX': [each.transpose(1, 2, 0) for each in stored],
              'CTYX': [stored[:, t].transpose(1, 2, 0) for t in range(3)],
              'CZYX': [stored[:, z].transpose(1, 2, 0) for z in range(3)],
              'TZYX': [stored[t, z, :, :, None] for t in range(5) for z in range(3)],
              'TYXS': list(stored)}[axes]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == np.uint16 and np.array_equal(one, other)


def test_frames_of_several_series_and_of_pillow(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        for page in STACK[:, 0]:
            file.write(page, contiguous=False)
    assert np.array_equal(frames(tmp_path / 'a.tif'), STACK[:, 0, :, :, None])
    eight = (STACK[:, 0] >> 4).astype(np.uint8)
    first, *others = map(Image.fromarray, eight)
    for name in ('b.tif', 'c.gif', 'd.png'):
        first.save(tmp_path / name, save_all=True, append_images=others)
        # Colours of one grey, where a format has colours alone.
        assert all((frame == wanted[:, :, None]).all()
                   for frame, wanted in zip(frames(tmp_path / name), eight, strict=True)), name


@pytest.mark.parametrize('photometric', ['miniswhite', 'palette'])
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_frames_look_as_whole_stacks(tmp_path, photometric, compression):
    stack = values((3, 5, 7), 'uint8', 256)
    colours = values((3, 256), 'uint16', 65536)
    tifffile.imwrite(tmp_path / 'a.tif', stack, photometric=photometric, compression=compression,
                     colormap=colours if photometric == 'palette' else None,
                     extratags=[(274, 'H', 1, 6, True)])
    for frame, stored in zip(frames(tmp_path / 'a.tif'), stack, strict=True):
        shown = (colours >> 8).T[stored] if photometric == 'palette' else 255 - stored[..., None]
        assert np.array_equal(frame, np.rot90(shown, -1))


@pytest.mark.parametrize('photometric', ['MONOCHROME2', 'MONOCHROME1'])
def test_frames_of_a_dicom(tmp_path, photometric):
    write_dicom(tmp_path / 'a', STACK[:, 0], slope=2, intercept=-1000, photometric=photometric)
    stored = pydicom.dcmread(tmp_path / 'a').pixel_array.astype(float)
    if photometric == 'MONOCHROME1':
        stored = 4095 - stored
    found = np.stack([read_frame(str(tmp_path / 'a'), index) for index in range(5)])
    assert np.array_equal(found, 2 * stored[..., None] - 1000)
    assert frame_names(str(tmp_path / 'a'), 'a.dcm') == [f'a.dcm#{i}' for i in range(5)]


def test_frames_of_a_deflated_dicom(tmp_path):
    write_dicom(tmp_path / 'a.dcm', STACK[:, 0])
    file = pydicom.dcmread(tmp_path / 'a.dcm')
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / 'a.dcm')
    assert np.array_equal(frames(tmp_path / 'a.dcm'), STACK[:, 0, :, :, None])


@pytest.mark.parametrize(('array', 'wanted'), [
    (STACK[:, 0], STACK[:, 0, :, :, None]),
    (np.asfortranarray(STACK[:, 0]), STACK[:, 0, :, :, None]),
    (STACK[:1, 0], STACK[:1, 0, :, :, None]),
    (STACK.transpose(0, 2, 3, 1), STACK.transpose(0, 2, 3, 1)),
    # More channels than rows.
    (STACK, STACK)])
def test_frames_of_an_array(tmp_path, array, wanted):
    np.save(tmp_path / 'a.npy', array)
    assert np.array_equal(frames(tmp_path / 'a.npy'), wanted)


def test_frames_are_counted_again_when_the_system_lacked_something(tmp_path, monkeypatch):
    np.save(tmp_path / 'a.npy', STACK[:, 0])
    with monkeypatch.context() as short:
        short.setattr(frames_module, '_kind', Mock(side_effect=OSError(errno.EMFILE, 'too many')))
        with pytest.raises(OSError, match='too many'):
            frame_names(str(tmp_path / 'a.npy'), 'a.npy')
    assert len(frame_names(str(tmp_path / 'a.npy'), 'a.npy')) == 5


def test_a_single_picture_keeps_its_name(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', STACK[0, 0])
    np.save(tmp_path / 'b.npy', STACK[0, 0])
    write_dicom(tmp_path / 'c.dcm', STACK[0, 0])
    Image.new('L', (9, 7)).save(tmp_path / 'd#1.jpg')
    (tmp_path / 'e.tif').write_bytes(b'II*\0broken')
    found = ImageFolder(str(tmp_path), pipeline=LOAD)
    names = [found.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(found))]
    assert names == ['a.tif', 'b.npy', 'c.dcm', 'd#1.jpg', 'e.tif']
    for i in (0, 1):
        assert np.allclose(found[i]['img'][..., 0], STACK[0, 0] / 4096 * 255, atol=1e-4)
    with pytest.raises(UnreadableImage, match=r'e\.tif: unreadable'):
        found[4]


def write_compressed(path, stack=STACK[:, 0]):
    """A TIFF of zlib pages; the place of the compressed values of each."""
    tifffile.imwrite(path, stack, compression='zlib', photometric='minisblack')
    with tifffile.TiffFile(path) as file:
        return [(page.dataoffsets[0], page.databytecounts[0]) for page in file.pages]


def test_headers_are_counted_and_no_other_frame_is_decoded(tmp_path):
    places = write_compressed(tmp_path / 'a.tif')
    content = bytearray((tmp_path / 'a.tif').read_bytes())
    for start, size in places[:4]:
        content[start:start + size] = b'\xff' * size
    (tmp_path / 'a.tif').write_bytes(content)
    found = ImageFolder(str(tmp_path), pipeline=LOAD)
    assert len(found) == 5
    assert np.allclose(found[4]['img'][..., 0], STACK[4, 0] / 4096 * 255, atol=1e-4)
    with pytest.raises(UnreadableImage, match=r'a\.tif#0: unreadable image'):
        found[0]


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        path = tmp_path / 'images' / 'ab'[number % 2] / f'{number:02}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, STACK[:2 + number % 3, number % 3], photometric='minisblack')
    return tmp_path / 'images'


def names_of(dataset):
    return [dataset.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(dataset))]


def test_a_folder_lists_frames_in_order_with_the_class_of_their_file(folder):
    found = ImageFolder(str(folder), pipeline=LOAD)
    wanted = [f'{number:02}.tif#{index}' for side in (0, 1) for number in range(side, 12, 2)
              for index in range(2 + number % 3)]
    assert names_of(found) == wanted
    assert [found.get_cat_ids(i)[0] for i in range(len(found))] == [
        int(name[:2]) % 2 for name in wanted]
    # As photographs are, without the setting.
    assert len(ImageFolder(str(folder))) == 12


@pytest.mark.slow
def test_frames_of_a_file_are_in_one_split(folder):
    parts = {split: names_of(ImageFolder(str(folder), split=split, val_fraction=.4, pipeline=LOAD))
             for split in ('train', 'val', 'all')}
    files = {split: {split_frame(name)[0] for name in names} for split, names in parts.items()}
    assert files['train'] and files['val'] and not files['train'] & files['val']
    assert sorted(parts['train'] + parts['val']) == sorted(parts['all'])
    # The same split as without frames.
    assert files['val'] == set(names_of(ImageFolder(str(folder), split='val', val_fraction=.4)))


def test_frames_of_a_training_file_are_no_test_images(folder):
    train, test = (ImageFolder(str(folder), pipeline=LOAD, indices=indices)
                   for indices in ([0, 3], [1, 4]))
    with pytest.raises(InputError, match=r'2 of the 2 test images are also training images'):
        check_train_and_test(train, test, 'x')


def test_frames_have_the_number_of_their_file(folder):
    parts = [ImageFolder(str(folder), pipeline=LOAD, indices=indices)
             for indices in ([0, 1, 2], [3, 4, 5, 0])]
    # Of 00.tif there are two frames, of 02.tif four.
    assert files_of_images(*parts).tolist() == [0, 0, 1, 1, 1, 1, 0]
    assert files_of_images(ImageFolder(str(folder))) is None


@pytest.mark.slow
def test_another_number_of_frames_is_other_data(folder):
    before = dataset_fingerprint(ImageFolder(str(folder), pipeline=LOAD))
    listed = ImageFolder(str(folder), pipeline=LOAD)
    assert dataset_fingerprint(listed) == before
    tifffile.imwrite(folder / 'a' / '00.tif', STACK[:1, 0], photometric='minisblack')
    with pytest.raises(InputError, match=r'00\.tif: has no frame of index 1 any more'):
        listed[1]
    now = ImageFolder(str(folder), pipeline=LOAD)
    assert len(now) == len(listed) - 1 and dataset_fingerprint(now) != before


def test_a_damaged_frame_is_replaced_and_named(tmp_path):
    (start, size), *_ = write_compressed(tmp_path / 'a.tif')
    content = bytearray((tmp_path / 'a.tif').read_bytes())
    content[start:start + size] = b'\xff' * size
    (tmp_path / 'a.tif').write_bytes(content)
    replacing = ReplaceBadImages(ImageFolder(str(tmp_path), pipeline=LOAD), tmp_path / 'run', .5)
    assert replacing[0]['img'].shape == (7, 9, 1)
    line, = (tmp_path / 'run' / 'bad_images_rank0.txt').read_text().splitlines()
    assert line.startswith(f'0\t{tmp_path}/a.tif#0\t')
    checked = ImageFolder(str(tmp_path), pipeline=LOAD, skip_unreadable=True)
    assert names_of(checked) == [f'a.tif#{index}' for index in range(1, 5)]


@pytest.mark.parametrize('channels', [1, 12])
def test_packed_frames_equal_those_of_the_folder(tmp_path, channels):
    (tmp_path / 'images').mkdir()
    # More channels than rows would be taken for rows.
    np.save(tmp_path / 'images' / 'a.npy', values((4, 7, 9, channels), 'uint16', 4096))
    np.save(tmp_path / 'images' / 'b.npy', values((4, 5, 3, channels), 'uint16', 4096, seed=1))
    pipeline = [dict(LOAD[0], channels=channels)]
    source = ImageFolder(str(tmp_path / 'images'), pipeline=pipeline)
    pack(source, tmp_path / 'a.amtpack')
    packed = PackedImages(str(tmp_path / 'a.amtpack'), pipeline=pipeline)
    assert len(packed) == 8 and packed.fingerprint == dataset_fingerprint(source)
    assert names_of(packed) == names_of(source)
    for one, other in zip(packed, source, strict=True):
        assert np.array_equal(one['img'], other['img'])


@pytest.mark.parametrize('make', [
    lambda folder: ImageFolder(str(folder), pipeline=LOAD),
    lambda folder: LoadPixels(1, pages='frames')({'img_path': str(folder / 'a.tif')})])
def test_what_has_no_frames(tmp_path, make):
    np.savez(tmp_path / 'a.npz', STACK[:, 0])
    tifffile.imwrite(tmp_path / 'a.tif', STACK[:, 0], photometric='minisblack')
    with pytest.raises(InputError, match=r'frames of \.npz cannot be read one by one|has 5 pages'):
        make(tmp_path)


def test_masks_have_no_frames(tmp_path):
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
        Image.new('L', (9, 7)).save(tmp_path / name / 'a.png')
    with pytest.raises(InputError, match='have no masks'):
        SegmentationFolder(str(tmp_path), pipeline=LOAD)


@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_each_frame_of_a_tiff_has_its_own_orientation(tmp_path, compression):
    stack = values((2, 5, 7), 'uint8', 256)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        for page, orientation in zip(stack, (1, 3), strict=True):
            file.write(page, compression=compression, metadata=None,
                       extratags=[(274, 'H', 1, orientation, True)])
    first, second = frames(tmp_path / 'a.tif')
    assert np.array_equal(first[:, :, 0], stack[0])
    assert np.array_equal(second[:, :, 0], stack[1, ::-1, ::-1])


def test_a_file_has_no_more_frames_than_bytes(tmp_path):
    """Else a header of a few bytes asks for a name for each of billions of frames."""
    first, second = (Image.new('L', (3, 2), grey) for grey in (7, 8))
    first.save(tmp_path / 'a.png', save_all=True, append_images=[second])
    content = (tmp_path / 'a.png').read_bytes()
    start = content.index(b'acTL')
    control = b'acTL' + struct.pack('>II', 2**31, 0)
    (tmp_path / 'b.png').write_bytes(b''.join([
        content[:start], control, struct.pack('>I', zlib.crc32(control)), content[start + 16:]]))
    assert frame_names(str(tmp_path / 'a.png'), 'a.png') == ['a.png#0', 'a.png#1']
    with Image.open(tmp_path / 'b.png') as image:
        assert image.n_frames == 2**31
    assert frame_names(str(tmp_path / 'b.png'), 'b.png') == ['b.png']


def test_a_frame_of_entries_without_bytes_is_refused(tmp_path):
    with open(tmp_path / 'a.npy', 'wb') as file:
        np.lib.format.write_array_header_1_0(
            file, dict(descr='|V0', fortran_order=False, shape=(4, 4, 2**40)))
    with pytest.raises(Image.DecompressionBombError):
        read_frame(str(tmp_path / 'a.npy'), 0)
