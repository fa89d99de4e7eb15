import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import json
import os
import pickle
import shutil
import zlib

import numpy as np
import pytest
from deep_images import values, write_bands
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from amt_mm.datasets import (
    ConcatDataset,
    ImageFolder,
    PackedImages,
    dataset_fingerprint,
    pack,
    whole_image_view,
)
from amt_mm.errors import InputError

PIPELINES = {
    loader: [dict(type=f'amt_mm.{loader}'),
             dict(type=f'amt_mm.{crop}', scale=24, interpolation='bicubic', backend='pillow'),
             dict(type='RandomFlip', prob=.5), dict(type='amt_mm.PackInputsWithBox')]
    for loader, crop in (('ReadImage', 'DecodeRandomResizedCrop'),
                         ('LoadImage', 'RandomResizedCropWithBox'))}


@pytest.fixture
def folder(tmp_path):
    chance = np.random.RandomState(0)
    for i, name in enumerate(['cat/a.jpg', 'cat/b.png', 'dog/ä b.jpg', 'dog/c.jpg', 'owl/x.bmp']):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.randint(0, 256, (30 + 5 * i, 61, 3), np.uint8)).save(path)
    return tmp_path / 'images'


@pytest.fixture
def packed(folder, tmp_path):
    pack(ImageFolder(str(folder)), tmp_path / 'new' / 'a.amtpack')
    return tmp_path / 'new' / 'a.amtpack'


@pytest.mark.slow
@pytest.mark.parametrize('loader', PIPELINES)
def test_samples_equal_those_of_the_folder(folder, packed, loader):
    source = ImageFolder(str(folder), pipeline=PIPELINES[loader])
    dataset = DATASETS.build(dict(type='amt_mm.PackedImages', path=str(packed),
                                  pipeline=PIPELINES[loader]))
    shutil.rmtree(folder.with_name('gone'), ignore_errors=True)
    assert len(dataset) == 5
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'owl')
    for i in range(5):
        np.random.seed(i)
        wanted = source[i]
        np.random.seed(i)
        found = dataset[i]
        np.testing.assert_array_equal(found['inputs'].numpy(), wanted['inputs'].numpy())
        a, b = found['data_samples'], wanted['data_samples']
        assert (a.sample_idx, a.crop_box, a.flip) == (b.sample_idx, b.crop_box, b.flip)
        assert a.gt_label == b.gt_label
        assert str(folder / a.img_path) == b.img_path


@pytest.mark.slow
def test_bands_and_arrays_are_packed_as_they_are(tmp_path):
    pipeline = [dict(type='amt_mm.LoadPixels', channels=6, window=(0, 4000)),
                dict(type='PackInputs')]
    (tmp_path / 'images').mkdir()
    write_bands(tmp_path / 'images/a.tif', values((6, 5, 7), 'uint16', 4000))
    np.save(tmp_path / 'images/b.npy', values((9, 4, 6), 'int16', 4000))
    source = ImageFolder(str(tmp_path / 'images'), pipeline=pipeline)
    pack(source, tmp_path / 'a.amtpack')
    packed = PackedImages(str(tmp_path / 'a.amtpack'), pipeline)
    assert len(source) == len(packed) == 2
    for one, other in zip(source, packed, strict=True):
        np.testing.assert_array_equal(one['inputs'], other['inputs'])


@pytest.mark.slow
def test_has_the_fingerprint_of_its_source(folder, packed, toy_images, tmp_path):
    dataset = PackedImages(str(packed))
    assert dataset_fingerprint(dataset) == dataset.fingerprint
    assert dataset_fingerprint(dataset) == dataset_fingerprint(ImageFolder(str(folder)))
    (folder / 'owl/x.bmp').rename(folder / 'owl/y.bmp')
    assert dataset_fingerprint(dataset) != dataset_fingerprint(ImageFolder(str(folder)))
    # Packing it again keeps the fingerprint.
    pack(dataset, tmp_path / 'b.amtpack')
    assert (tmp_path / 'b.amtpack').read_bytes() == packed.read_bytes()


def test_images_in_memory_are_packed_losslessly(toy_images, tmp_path):
    source = toy_images(4)
    pack(source, tmp_path / 'a.amtpack')
    dataset = PackedImages(str(tmp_path / 'a.amtpack'), PIPELINES['ReadImage'])
    assert dataset_fingerprint(dataset) == dataset_fingerprint(source)
    for i in range(4):
        found = PackedImages.prepare_data(whole_image_view(dataset), i)
        assert found['inputs'].shape == (3, 24, 24)
        raw = dataset.pipeline.transforms[0](dataset.get_data_info(i))['img']
        np.testing.assert_array_equal(raw, source.images[i])
        assert 'gt_label' not in dataset.get_data_info(i)


@pytest.mark.slow
def test_a_concatenation_is_packed_as_a_whole(folder, tmp_path):
    both = ConcatDataset([ImageFolder(str(folder / name)) for name in ('cat', 'dog')])
    pack(both, tmp_path / 'a.amtpack')
    assert dataset_fingerprint(PackedImages(str(tmp_path / 'a.amtpack'))) == (
        dataset_fingerprint(both))


def test_workers_receive_no_copy(packed):
    dataset = PackedImages(str(packed), PIPELINES['ReadImage'])
    assert len(pickle.dumps(dataset)) < packed.stat().st_size / 3
    clone = pickle.loads(pickle.dumps(dataset))
    assert bytes(clone.get_data_info(2)['img_bytes']) == bytes(
        dataset.get_data_info(2)['img_bytes'])
    batches = DataLoader(dataset, batch_size=3, num_workers=1, multiprocessing_context='fork',
                         collate_fn=lambda batch: [s['data_samples'].sample_idx for s in batch])
    assert list(batches) == [[0, 1, 2], [3, 4]]


def damage(content, where):
    broken = bytearray(content)
    broken[where] ^= 1
    return bytes(broken)


@pytest.mark.parametrize('harm, message', [
    (lambda c: c[:-10], 'index is damaged'), (lambda c: c[:5000], 'index is damaged'),
    (lambda c: c.replace(b'"num_samples": 5', b'"num_samples":-5'), 'header is damaged'),
    (lambda c: damage(c, -30), 'index is damaged'), (lambda c: damage(c, 9), 'header is damaged'),
    (lambda c: c.replace(b'"fingerprint": "5-', b'"fingerprint": "`['), 'header is damaged'),
    (lambda c: c[:8] + b'[' * 4088 + c[4096:], 'header is damaged'),
    (lambda c: damage(c, 2), 'not a packed'), (lambda c: b'', 'not a packed')])
def test_damaged_files_are_named(packed, harm, message):
    packed.write_bytes(harm(packed.read_bytes()))
    with pytest.raises(InputError, match=f'{packed.name}.*{message}'):
        PackedImages(str(packed))


@pytest.mark.parametrize(('said', 'instead'), [
    (b'"num_samples": 5', b'"num_samples": 4'), (b'"num_samples": 5', b'"num_samples": 0'),
    (b'"names_bytes": 4', b'"names_bytes": 3')])
def test_a_header_that_does_not_match_the_index_is_refused(packed, said, instead):
    raw = packed.read_bytes()
    assert said in raw[:200]
    packed.write_bytes(raw.replace(said, instead, 1))
    with pytest.raises(InputError, match='index is damaged'):
        PackedImages(str(packed))


@pytest.mark.parametrize(('said', 'instead'), [
    # The end of the first image and of the first name, before their beginning or behind the end.
    (lambda starts: starts[1], 0), (lambda starts: starts[1], 2**63), (None, b'"ab"'),
    (None, b'[1]'), (None, b'{}'), (None, b'['), (None, b'[' * 10**5)])
def test_an_index_of_other_content_is_refused_in_spite_of_its_checksum(packed, said, instead):
    raw = packed.read_bytes()
    header = json.loads(raw[8:4096])
    index = raw[header['index_start']:]
    if said is None:
        classes = json.dumps(list(PackedImages(packed).metainfo['classes'])).encode()
        assert index.endswith(classes)
        index = index.removesuffix(classes) + instead
    else:
        starts = np.frombuffer(index, '<u8', header['num_samples'] + 1).tolist()
        old, new = (number.to_bytes(8, 'little') for number in (said(starts), instead))
        index = index.replace(old, new, 1)
    header['index_crc32'] = zlib.crc32(index)
    packed.write_bytes((raw[:8] + json.dumps(header).encode()).ljust(4096)
                       + raw[4096:header['index_start']] + index)
    with pytest.raises(InputError, match='index is damaged'):
        PackedImages(packed)


def test_missing_file_and_empty_image(folder, tmp_path):
    with pytest.raises(InputError, match=r'none\.amtpack.*pack_dataset'):
        PackedImages(str(tmp_path / 'none.amtpack'))
    (folder / 'cat/a.jpg').write_bytes(b'')
    with pytest.raises(InputError, match=r'a\.jpg.*empty'):
        pack(ImageFolder(str(folder)), tmp_path / 'b.amtpack')
    assert not os.path.exists(tmp_path / 'b.amtpack') and not list(tmp_path.glob('.b.amtpack*'))


def test_a_crash_leaves_the_old_file(folder, packed):
    before = zlib.crc32(packed.read_bytes())
    (folder / 'dog/c.jpg').unlink()
    source = ImageFolder(str(folder))
    (folder / 'dog/ä b.jpg').unlink()
    with pytest.raises(InputError, match='No such file'):
        pack(source, packed)
    assert zlib.crc32(packed.read_bytes()) == before


@pytest.mark.parametrize('take', [
    lambda path: PackedImages(path).get_subset(2), lambda path: PackedImages(path).get_subset_([0]),
    lambda path: PackedImages(path, indices=2)])
def test_a_part_is_refused_instead_of_the_whole(packed, take):
    with pytest.raises(InputError, match=r'a\.amtpack: .*torch\.utils\.data\.Subset'):
        take(str(packed))
