"""Unreadable images are replaced and counted; faults of the program are not."""

import errno
import os
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from bad_files import BAD, ODD, write_bad, write_folder
from mmengine import fileio
from mmengine.dataset import ClassBalancedDataset, RepeatDataset, pseudo_collate
from mmengine.runner.runner import _SlicedDataset
from mmpretrain.datasets import KFoldDataset
from torch.utils.data import DataLoader

import amt_mm.registry  # noqa: F401  before mmpretrain
from amt_mm.datasets import (
    ImageFolder,
    PackedImages,
    ReplaceBadImages,
    StagedDataset,
    base_dataset,
    dataset_fingerprint,
    packed,
    whole_image_view,
)
from amt_mm.datasets.bad_images import BadImages
from amt_mm.datasets.replace_bad_images import bad_image_wrapper
from amt_mm.datasets.stand_ins import StandIns, with_stand_ins
from amt_mm.datasets.worker_watch import WorkerWatch
from amt_mm.errors import InputError, UnreadableImage

CROP = dict(scale=24, interpolation='bicubic', backend='pillow')
END = [dict(type='RandomFlip', prob=.5), dict(type='amt_mm.PackInputsWithBox')]
PIPELINES = {
    'fast': [dict(type='amt_mm.ReadImage'), dict(type='amt_mm.DecodeRandomResizedCrop', **CROP)],
    'plain': [dict(type='amt_mm.LoadImage'), dict(type='amt_mm.RandomResizedCropWithBox', **CROP)],
    'mmcv': [dict(type='LoadImageFromFile'),
             dict(type='amt_mm.RandomResizedCropWithBox', **CROP)]}
PIPELINES = {name: start + END for name, start in PIPELINES.items()}
REPEATED = [PIPELINES['fast'][0],
            dict(type='amt_mm.RepeatedCrops', transforms=PIPELINES['fast'][1:], repeats=2)]
# OpenCV alone returns the readable part of these.
SEEN_BY_MMCV = sorted({*BAD, *ODD} - {'half.jpg', 'half.webp', 'half.bmp', 'half.tiff', 'half.png'})
KINDS = [*((loader, name) for loader in ('fast', 'plain') for name in sorted({*BAD, *ODD})),
         *(('mmcv', name) for name in SEEN_BY_MMCV)]


class Key(int):
    """Indices with seeds, as the sampler of a run makes them."""

    def __new__(cls, index, seed):
        key = super().__new__(cls, index)
        key.seed = seed
        return key


def images_of(folder, pipeline='fast'):
    # Serialising collects garbage, which takes longer than reading a few images.
    steps = PIPELINES[pipeline] if isinstance(pipeline, str) else pipeline
    return ImageFolder(str(folder), pipeline=steps, serialize_data=False)


def replacing(dataset, folder, max_bad=1, **kwargs):
    return ReplaceBadImages(dataset, folder, max_bad, **kwargs)


def index_of(dataset, name):
    base = base_dataset(dataset)
    return next(i for i in range(len(base)) if base.get_data_info(i)['img_path'].endswith(name))


@pytest.mark.parametrize(('loader', 'name'), KINDS)
def test_every_kind_of_bad_file_is_replaced_and_listed(tmp_path, loader, name):
    folder = write_folder(tmp_path / 'images')
    path = folder / name
    path.write_bytes(b'listed when the data set was made')
    made = replacing(images_of(folder, loader), tmp_path / 'run')
    path.unlink()
    write_bad(path)
    bad = index_of(made, name)
    sample = made[bad]['data_samples']
    assert sample.sample_idx != bad and 'good' in sample.img_path
    assert made.bad.names() == [str(path)]
    line = made.bad.path.read_text()
    assert line.startswith(f'{bad}\t{path}\t') and len(line.split('\t')[2]) > 5


def test_a_file_that_is_deleted_while_training(tmp_path):
    folder = write_folder(tmp_path / 'images')
    made = replacing(images_of(folder), tmp_path / 'run')
    (folder / 'good_2.jpg').unlink()
    assert made[2]['data_samples'].sample_idx != 2 and made[1]['data_samples'].sample_idx == 1
    assert 'the file does not exist' in made.bad.path.read_text()


@pytest.mark.parametrize('loader', ['fast', 'mmcv'])
@pytest.mark.parametrize('number', [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_the_system_lacks_is_no_fault_of_the_image(tmp_path, monkeypatch, loader, number):
    made = replacing(images_of(write_folder(tmp_path / 'images'), loader), tmp_path / 'run')

    def get(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fileio, 'get', get)
    with pytest.raises(OSError, match=os.strerror(number)):
        made[2]
    assert not made.bad.names()


def test_readable_samples_are_unchanged(tmp_path):
    folder = write_folder(tmp_path / 'images', bad=['empty.jpg'])
    plain = images_of(folder)
    made = replacing(images_of(folder), tmp_path / 'run')
    for index in range(1, 5):
        np.random.seed(index)
        wanted = plain[index]
        np.random.seed(index)
        assert made[index]['inputs'].equal(wanted['inputs'])
    assert not made.bad.folder.exists()


@pytest.mark.parametrize('known', [False, True])
def test_the_replacement_is_a_function_of_the_key(tmp_path, known):
    folder = write_folder(tmp_path / 'images', good=30, bad=list(BAD))
    order = [made['data_samples'].sample_idx
             for made in map(replacing(images_of(folder), tmp_path / 'a').__getitem__,
                             [Key(index, 7 * index + epoch) for epoch in (0, 1)
                              for index in range(43)])]
    assert sorted(set(order)) == sorted(
        index for index in range(43)
        if 'good' in images_of(folder).get_data_info(index)['img_path'])
    assert order[:43] != order[43:]
    # Found in another order, or listed by another run.
    other = replacing(images_of(folder), tmp_path / ('a' if known else 'b'))
    again = [None] * 86
    for place in reversed(range(86)):
        epoch, index = divmod(place, 43)
        again[place] = other[Key(index, 7 * index + epoch)]['data_samples'].sample_idx
    assert again == order


def test_the_replacement_has_its_own_label(tmp_path):
    root = tmp_path / 'images'
    for name, bad in (('cat', ['empty.jpg', 'head.jpg']), ('dog', ['text.png'])):
        write_folder(root / name, good=2, bad=bad)
    made = replacing(ImageFolder(str(root), pipeline=PIPELINES['fast'], split='all'),
                     tmp_path / 'run')
    for index in range(7):
        sample = made[Key(index, index)]['data_samples']
        assert ('cat', 'dog')[sample.gt_label.item()] in sample.img_path


class Broken:
    """A transform that fails for another reason."""

    error = RuntimeError('wrong shape')

    def __call__(self, results):
        raise self.error


@pytest.mark.parametrize('error', [RuntimeError('a'), InputError('b'), OSError('c'), KeyError('d'),
                                   ValueError('e'), AssertionError('f'), MemoryError('g')])
@pytest.mark.parametrize('loader', ['fast', 'mmcv'])
@pytest.mark.parametrize('staged', [False, True])
def test_faults_of_other_transforms_are_raised(tmp_path, error, loader, staged):
    dataset = images_of(write_folder(tmp_path / 'images'), loader)
    broken = Broken()
    broken.error = error
    dataset.pipeline.transforms.insert(1, broken)
    made = replacing(StagedDataset(dataset) if staged else dataset, tmp_path / 'run')
    with pytest.raises(type(error), match=str(error)):
        made.__getitems__([1, 2])
    assert len(made.bad) == 0


def test_a_wrong_key_in_mmcvs_loading_is_raised(tmp_path):
    dataset = images_of(write_folder(tmp_path / 'images'), 'mmcv')
    dataset.pipeline.transforms.insert(0, lambda results: {})
    with pytest.raises(KeyError):
        replacing(dataset, tmp_path / 'run')[0]


def test_out_of_memory_is_not_an_unreadable_image(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr('amt_mm.datasets.fast_crop.open_jpeg', fail)
    made = replacing(images_of(write_folder(tmp_path / 'images')), tmp_path / 'run')
    with pytest.raises(InputError, match='not enough memory'):
        made[0]
    assert not made.bad.names()


@pytest.mark.parametrize('pipeline', ['fast', 'plain', REPEATED])
@pytest.mark.parametrize('count', [1, 5, 13, 40])
def test_batches_of_a_staged_data_set(tmp_path, pipeline, count):
    folder = write_folder(tmp_path / 'images', good=20, bad=list(BAD))
    batch = [Key(index % 33, index) for index in range(count)]
    made, again = (replacing(StagedDataset(images_of(folder, pipeline)), tmp_path / 'run')
                   for _ in range(2))

    def samples(dataset):
        np.random.seed(3)
        found = [sample['data_samples'] for sample in dataset.__getitems__(batch)]
        return [each[0] if isinstance(each, list) else each for each in found]

    first, second = samples(made), samples(again)  # the second one has the list
    assert [s.sample_idx for s in first] == [s.sample_idx for s in second]
    assert all('good' in sample.img_path for sample in first)
    names = [made.name_of(int(key)) for key in batch]
    assert sum(a == b.img_path for a, b in zip(names, first, strict=True)) == sum(
        'good' in name for name in names)


def test_a_failure_that_no_sample_repeats_is_raised(tmp_path, monkeypatch):
    dataset = StagedDataset(images_of(write_folder(tmp_path / 'images')))

    def fail(self, indices):
        raise UnreadableImage('once')

    monkeypatch.setattr(StagedDataset, '__getitems__', fail)
    with pytest.raises(UnreadableImage, match='once'):
        replacing(dataset, tmp_path / 'run').__getitems__([0, 1])


def test_a_packed_data_set(tmp_path):
    folder = write_folder(tmp_path / 'images', good=6)
    packed_file = tmp_path / 'a.amtpack'
    from amt_mm.datasets import pack
    pack(ImageFolder(str(folder)), packed_file)
    content = bytearray(packed_file.read_bytes())
    # Damage the data of one image after its header, so that only decoding fails.
    start = packed.HEADER_BYTES + (folder / 'good_0.jpg').stat().st_size
    content[start:start + 100] = bytes(100)
    packed_file.write_bytes(content)
    made = replacing(PackedImages(str(packed_file), PIPELINES['fast']), tmp_path / 'run')
    assert made[1]['data_samples'].sample_idx != 1 and made[0]['data_samples'].sample_idx == 0
    assert made.bad.names() == ['good_1.jpg']


def test_repeated_and_concatenated(tmp_path):
    folders = [write_folder(tmp_path / name, good=2, bad=['empty.jpg']) for name in 'ab']
    both = dict(type='amt_mm.ConcatDataset', datasets=[
        dict(type='amt_mm.ImageFolder', data_root=str(folder), pipeline=PIPELINES['fast'])
        for folder in folders])
    made = replacing(RepeatDataset(both, 3), tmp_path / 'run')
    assert made.bad.samples == 6
    samples = [made[Key(index, index)]['data_samples'] for index in range(18)]
    assert {sample.sample_idx for sample in samples} == {1, 2, 4, 5}
    assert len(made.bad) == 2 and len(made.bad.path.read_text().splitlines()) == 6


def test_the_limit_stops_training(tmp_path):
    folder = write_folder(tmp_path / 'images', good=10, bad=['empty.jpg', 'text.png', 'head.jpg'])
    made = replacing(images_of(folder), tmp_path / 'run', max_bad=.2)
    with pytest.raises(InputError, match='3 of 13 images are unreadable') as error:
        for index in range(13):
            made[index]
    assert '\n' not in str(error.value) and str(folder / 'empty.jpg') in str(error.value)
    assert len(made.bad.path.read_text().splitlines()) == 3


def test_no_readable_image_stops_the_run(tmp_path):
    folder = write_folder(tmp_path / 'images', good=0, bad=list(BAD))
    with pytest.raises(InputError, match='as are 20 others'):
        replacing(images_of(folder), tmp_path / 'run')[0]


@pytest.mark.parametrize('staged', [False, True])
def test_workers(tmp_path, staged):
    folder = write_folder(tmp_path / 'images', good=20, bad=list(BAD))
    dataset = images_of(folder)
    made = replacing(StagedDataset(dataset) if staged else dataset, tmp_path / 'run', workers=2)
    loader = DataLoader(made, 4, num_workers=2, collate_fn=pseudo_collate)
    seen = [sample.sample_idx for batch in loader for sample in batch['data_samples']]
    assert len(seen) == 33 and len(set(seen)) == 20
    made.bad.read_new()
    assert len(made.bad) == 13
    assert len(made.bad.path.read_text().splitlines()) == 13


def test_delegates_attributes_to_the_data_set(tmp_path):
    dataset = images_of(write_folder(tmp_path / 'images'))
    made = replacing(dataset, tmp_path / 'run')
    assert made.metainfo == dataset.metainfo and base_dataset(made) is dataset
    assert dataset_fingerprint(made) == dataset_fingerprint(dataset)
    made.pipeline = made.pipeline
    assert 'pipeline' not in made.__dict__
    with pytest.raises(AttributeError):
        _ = made.no_such_thing


def test_can_be_pickled_for_spawned_workers(tmp_path):
    dataset = images_of(write_folder(tmp_path / 'images', bad=['empty.jpg']))
    made = replacing(dataset, tmp_path / 'run', workers=1)
    made[0]
    clone = ForkingPickler.loads(ForkingPickler.dumps(made))
    assert len(clone) == 5 and clone.name_of(0) == made.name_of(0)
    assert clone[Key(0, 3)]['data_samples'].sample_idx == made[Key(0, 3)]['data_samples'].sample_idx
    clone.watch._rows[0, 0] = 5
    assert made.watch.number(5) == 0, 'one memory'


def test_stand_ins_of_whole_images_are_marked(tmp_path):
    folder = write_folder(tmp_path / 'images', good=3, bad=['empty.jpg', 'half.png', 'text.png'])
    made = replacing(images_of(folder), tmp_path / 'run', workers=1)
    view = with_stand_ins(whole_image_view(made), made, workers=0)
    assert isinstance(view, StandIns) and len(view) == 6
    for index in range(6):
        sample = view[index]['data_samples']
        assert sample.sample_idx == index
        assert sample.get('unreadable', False) == ('good' not in made.name_of(index))
        assert view[index]['inputs'].shape == (3, 24, 24)
    made.bad.read_new()
    assert len(made.bad) == 3


@pytest.mark.parametrize('wrap', [
    lambda images: images,
    lambda images: ClassBalancedDataset(images, oversample_thr=.9),
    # It takes configs alone.
    lambda images: KFoldDataset(dict(type='amt_mm.ImageFolder', data_root=images.data_root,
                                     pipeline=PIPELINES['fast']), 0, 2, seed=0)])
@pytest.mark.parametrize('sliced', [False, True])
def test_the_unreadable_image_is_the_same_under_wrappers(tmp_path, wrap, sliced):
    """They have indices of their own, and MMEngine's for shorter epochs hides what it wraps."""
    write_folder(tmp_path / 'images/few', good=1)
    write_folder(tmp_path / 'images/many', good=5, bad=['empty.jpg'])
    made = replacing(wrap(images_of(tmp_path / 'images')), tmp_path / 'run')
    for index in range(len(made)):  # as training does, by the indices of the wrapper
        made[index]
    training = _SlicedDataset(made, 2) if sliced else made
    view = with_stand_ins(whole_image_view(training), training, workers=0)
    marked = [bool(view[index]['data_samples'].get('unreadable')) for index in range(len(view))]
    assert sum(marked) == 1 and marked == [
        view.view.get_data_info(index)['img_path'].endswith('empty.jpg')
        for index in range(len(view))]
    assert view.bad.names() == [str(tmp_path / 'images/many/empty.jpg')]
    assert bad_image_wrapper(training) is made
    made.bad.read_new()
    assert set(made.bad.names()) <= set(view.bad.names())


def test_without_replacement_there_are_no_stand_ins(tmp_path):
    dataset = images_of(write_folder(tmp_path / 'images'))
    view = whole_image_view(dataset)
    assert with_stand_ins(view, StagedDataset(dataset), 0) is view


def test_no_stand_in_is_readable(tmp_path):
    dataset = images_of(write_folder(tmp_path / 'images', good=0, bad=['empty.jpg', 'text.png']))
    bad = BadImages(tmp_path, lambda index: str(index), 2, 1)
    with pytest.raises(InputError, match='no image of the training set'):
        StandIns(whole_image_view(dataset), bad, WorkerWatch(0, str))[0]
