import copy
import hashlib
import logging
import sys

import numpy as np
import pytest
from PIL import Image

from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError, UnreadableImage
from amt_mm.registry import DATASETS


def make(root, names):
    """Write a small image under each name, in the format of its extension."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.full((6, 9, 3), number, np.uint8))
        Image.init()
        image.save(path, format=Image.EXTENSION[path.suffix.lower()])
    return root


def names(dataset):
    prefix = dataset.img_prefix.rstrip('/') + '/'
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert all(path.startswith(prefix) for path in paths)
    return [path[len(prefix):] for path in paths]


def test_flat_folder_has_no_labels(tmp_path):
    make(tmp_path, ['b.png', 'a.JPG', 'c.webp', 'd.Gif', 'e.TIFF', 'f.jpeg'])
    (tmp_path / 'notes.txt').write_text('no image')
    dataset = ImageFolder(data_root=str(tmp_path))
    assert names(dataset) == ['a.JPG', 'b.png', 'c.webp', 'd.Gif', 'e.TIFF', 'f.jpeg']
    assert not dataset.with_label and dataset.CLASSES is None
    assert set(dataset.get_data_info(0)) == {'img_path', 'sample_idx'}


def test_subfolders_are_classes_however_deep(tmp_path):
    make(tmp_path, ['dog/z.png', 'dog/old/deep/y.png', 'cat/x.png', 'ant/2020/w.png'])
    (tmp_path / 'empty').mkdir()
    dataset = ImageFolder(data_root=str(tmp_path))
    assert names(dataset) == ['ant/2020/w.png', 'cat/x.png', 'dog/old/deep/y.png', 'dog/z.png']
    assert dataset.CLASSES == ('ant', 'cat', 'dog')
    assert dataset.get_gt_labels().tolist() == [0, 1, 2, 2]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    make(tmp_path, ['cat/a.png', 'cat/.b.png', '.thumbs/c.png', 'cat/.cache/d.png'])
    (tmp_path / '.e.png').write_bytes((tmp_path / 'cat/a.png').read_bytes())
    assert names(ImageFolder(data_root=str(tmp_path))) == ['cat/a.png']


def test_mixed_layout_names_an_example(tmp_path):
    make(tmp_path, ['cat/a.png', 'loose.png'])
    with pytest.raises(InputError, match='loose.png is not in a class subfolder') as error:
        ImageFolder(data_root=str(tmp_path))
    assert '\n' not in str(error.value)
    dataset = ImageFolder(data_root=str(tmp_path), with_label=False)
    assert names(dataset) == ['cat/a.png', 'loose.png']
    assert 'gt_label' not in dataset.get_data_info(0)


def test_a_flat_folder_cannot_have_labels(tmp_path):
    make(tmp_path, ['a.png'])
    with pytest.raises(InputError, match='not in a class subfolder; .* amt view or amt embed$'):
        ImageFolder(data_root=str(tmp_path), with_label=True)


def test_folder_missing_empty_or_a_file(tmp_path):
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(InputError, match=r'no image in this folder.*\.jpg .*\.webp') as error:
        ImageFolder(data_root=str(tmp_path))
    assert str(tmp_path) in str(error.value)
    with pytest.raises(InputError, match='nowhere: does not exist'):
        ImageFolder(data_root=str(tmp_path / 'nowhere'))
    with pytest.raises(InputError, match='notes.txt: is not a folder'):
        ImageFolder(data_root=str(tmp_path / 'notes.txt'))
    with pytest.raises(InputError, match='data_root is empty'):
        ImageFolder()


@pytest.mark.parametrize('argument', [{'split': 'valid'}, {'val_fraction': 0}, {'val_fraction': 1}])
def test_arguments_out_of_range(tmp_path, argument):
    with pytest.raises(InputError, match=next(iter(argument))):
        ImageFolder(data_root=str(make(tmp_path, ['a.png'])), **argument)


def test_classes_given(tmp_path):
    make(tmp_path, ['n01/a.png', 'n02/b.png'])
    assert ImageFolder(data_root=str(tmp_path), classes=['cat', 'dog']).CLASSES == ('cat', 'dog')
    with pytest.raises(InputError, match='2 class subfolders, but 3 classes are configured'):
        ImageFolder(data_root=str(tmp_path), classes=['cat', 'dog', 'ant'])


@pytest.mark.slow
def test_hashed_split_partitions_and_is_stable(tmp_path):
    files = [f'{"ab"[i % 2]}/{i:03d}.png' for i in range(300)]
    make(tmp_path, files[:200])
    parts = {s: names(ImageFolder(data_root=str(tmp_path), split=s)) for s in ('train', 'val')}
    assert sorted(parts['train'] + parts['val']) == sorted(files[:200])
    # Binomial: 40 expected, standard deviation 5.7.
    assert 20 < len(parts['val']) < 60
    digests = [hashlib.sha256(file.encode()).hexdigest() for file in parts['val']]
    assert all(int(digest, 16) / 2**256 < 0.2 for digest in digests)

    make(tmp_path, files[200:])
    (tmp_path / files[0]).unlink()
    for split, before in parts.items():
        after = set(names(ImageFolder(data_root=str(tmp_path), split=split)))
        assert set(before) - {files[0]} <= after


def test_labels_agree_between_splits(tmp_path):
    # Only one split contains the single image of the first class.
    make(tmp_path, ['ant/0.png', *(f'{c}/{i}.png' for c in ('cat', 'dog') for i in range(30))])
    for split in ('train', 'val'):
        dataset = ImageFolder(data_root=str(tmp_path), split=split)
        assert dataset.CLASSES == ('ant', 'cat', 'dog')
        for name, label in zip(names(dataset), dataset.get_gt_labels(), strict=True):
            assert dataset.CLASSES[label] == name.split('/')[0]


def test_no_split_is_every_image(tmp_path):
    files = ['a.png', 'test/b.png', 'train/cat/c.png', 'val/cat/d.png']
    make(tmp_path, files)
    assert names(ImageFolder(data_root=str(tmp_path), split=None, with_label=False)) == files


def test_empty_split(tmp_path):
    make(tmp_path, ['a.png'])
    outcomes = []
    for split in ('train', 'val'):
        try:
            outcomes.append(len(ImageFolder(data_root=str(tmp_path), split=split)))
        except InputError as error:
            assert 'none of its 1 images is in split=' in str(error)
            assert str(error).endswith('add images, or sort them into folders train and val')
            outcomes.append(0)
    assert sum(outcomes) == 1


@pytest.mark.parametrize('val', ['val', 'valid', 'validation'])
def test_split_folders_decide(tmp_path, val):
    make(tmp_path, ['train/cat/a.png', 'train/dog/b.png', f'{val}/dog/c.png', 'test/dog/d.png'])

    def read(split):
        # Serialising collects garbage, which dominates the duration.
        dataset = ImageFolder(data_root=str(tmp_path), split=split, serialize_data=False)
        assert dataset.CLASSES == ('cat', 'dog')
        return list(zip(names(dataset), dataset.get_gt_labels(), strict=True))

    train, held_out = [('train/cat/a.png', 0), ('train/dog/b.png', 1)], [(f'{val}/dog/c.png', 1)]
    assert read('train') == train
    assert read('val') == held_out
    assert read('all') == train + held_out


def test_split_folders_without_classes(tmp_path):
    make(tmp_path, ['train/a.png', 'val/b.png'])
    dataset = ImageFolder(data_root=str(tmp_path), split='val')
    assert names(dataset) == ['val/b.png'] and dataset.CLASSES is None


@pytest.mark.slow
@pytest.mark.parametrize(('train', 'test'), [('train', 'test'), ('Train', 'Testing')])
def test_without_a_val_folder_test_is_the_held_out_split(tmp_path, train, test):
    make(tmp_path, [f'{train}/cat/a.png', f'{train}/dog/b.png', f'{test}/dog/c.png'])
    found = {split: ImageFolder(data_root=str(tmp_path), split=split)
             for split in ('train', 'val', 'all')}
    assert {dataset.CLASSES for dataset in found.values()} == {('cat', 'dog')}
    assert names(found['val']) == [f'{test}/dog/c.png'] and found['val'].get_gt_labels() == [1]
    # Test images are never trained on.
    for split in ('train', 'all'):
        assert names(found[split]) == [f'{train}/cat/a.png', f'{train}/dog/b.png']


def test_case_is_ignored(tmp_path):
    make(tmp_path, ['Train/cat/a.png', 'VAL/cat/b.png', 'Test/cat/c.png'])
    assert names(ImageFolder(data_root=str(tmp_path))) == ['Train/cat/a.png', 'VAL/cat/b.png']


def test_a_class_named_train_is_not_a_split(tmp_path):
    make(tmp_path, ['train/a.png', 'bus/b.png', 'car/c.png'])
    assert ImageFolder(data_root=str(tmp_path)).CLASSES == ('bus', 'car', 'train')


def test_a_folder_beside_splits_is_named(tmp_path):
    make(tmp_path, ['train/cat/a.png', 'extra/cat/b.png', 'val/cat/c.png'])
    with pytest.raises(InputError, match='extra is next to the splits train and val: move'):
        ImageFolder(data_root=str(tmp_path))
    # Without labels all images below the folder are used, but none is a split's by its hash.
    for split in ('all', None):
        assert len(ImageFolder(data_root=str(tmp_path), split=split, with_label=False)) == 3
    for split in ('train', 'val'):
        with pytest.raises(InputError, match='extra is next to the splits train and val: move'):
            ImageFolder(data_root=str(tmp_path), split=split, with_label=False)


class Lines(logging.Handler):
    """Collect log records; MMLogger does not propagate to pytest's handler."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def logged(monkeypatch):
    from mmengine.logging import MMLogger
    handler = Lines()
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [*logger.handlers, handler])
    logger.setLevel('INFO')
    return handler.lines


def test_images_of_unknown_class_for_testing_are_left_out(tmp_path, logged):
    train = [f'train/{kind}/{i}.png' for kind in ('cat', 'dog') for i in range(5)]
    make(tmp_path, [*train, 'test/0.png', 'test/1.png'])
    found = {split: ImageFolder(str(tmp_path), split=split, val_fraction=.5, serialize_data=False)
             for split in ('train', 'val', 'all')}
    assert {dataset.CLASSES for dataset in found.values()} == {('cat', 'dog')}
    assert names(found['all']) == train
    assert sorted(names(found['train']) + names(found['val'])) == train
    assert len(found['val'])
    assert [line for _, line in logged] == [
        f'{tmp_path}/test: left out, its images are in no class subfolders, as those for training '
        'are; a share of those is held out instead (val_fraction=0.5)']
    # Without labels, it is the held-out part.
    assert len(ImageFolder(str(tmp_path), split='val', with_label=False)) == 2


def test_skip_unreadable(tmp_path, logged):
    make(tmp_path, [f'{c}/{i}.png' for c in ('cat', 'dog') for i in range(4)])
    (tmp_path / 'cat/2.png').write_bytes(b'')
    content = (tmp_path / 'dog/0.png').read_bytes()
    (tmp_path / 'dog/0.png').write_bytes(content[:40])
    dataset = ImageFolder(data_root=str(tmp_path), skip_unreadable=True)
    assert names(dataset) == ['cat/0.png', 'cat/1.png', 'cat/3.png',
                              'dog/1.png', 'dog/2.png', 'dog/3.png']
    assert dataset.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1]
    warnings = [line for level, line in logged if level == 'WARNING']
    assert len(warnings) == 2
    assert 'cat/2.png' in warnings[0] and 'empty' in warnings[0]
    assert 'dog/0.png' in warnings[1]
    assert '6 of 8 images are readable, 2 left out' in logged[-1][1] and dataset.left_out == 2


def test_heic_under_another_name_is_left_out_without_its_package(tmp_path, monkeypatch, logged):
    make(tmp_path, ['a.png'])
    (tmp_path / 'b.jpg').write_bytes(b'\0\0\0\x18ftypheic' + bytes(90))
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    dataset = ImageFolder(data_root=str(tmp_path), skip_unreadable=True)
    assert names(dataset) == ['a.png'] and dataset.left_out == 1
    assert any('b.jpg: unreadable image: HEIC images need pillow_heif: pip install' in line
               for level, line in logged if level == 'WARNING')


def test_all_unreadable(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    (tmp_path / 'b.jpg').write_bytes(b'text')
    with pytest.raises(InputError, match='none of its 2 images can be read'):
        ImageFolder(data_root=str(tmp_path), skip_unreadable=True)


def test_unreadable_file_stops_by_default(tmp_path):
    make(tmp_path, ['a.png'])
    (tmp_path / 'b.jpg').write_bytes(b'')
    dataset = ImageFolder(data_root=str(tmp_path), pipeline=[{'type': 'amt_mm.LoadImage'}])
    assert dataset[0]['img'].shape == (6, 9, 3)
    with pytest.raises(InputError, match='b.jpg: .*empty'):
        dataset[1]


def test_builds_from_config_and_takes_subsets(tmp_path, monkeypatch):
    make(tmp_path / 'photos', ['cat/a.png', 'dog/b.png', 'dog/c.png'])
    monkeypatch.setenv('HOME', str(tmp_path))
    dataset = DATASETS.build({'type': 'amt_mm.ImageFolder', 'data_root': '~/photos',
                              'indices': [2, 0], 'lazy_init': True})
    view = copy.copy(dataset)
    view.full_init()
    assert names(view) == ['dog/c.png', 'cat/a.png']
    prefixed = ImageFolder(data_root=str(tmp_path), data_prefix='photos')
    assert names(prefixed) == ['cat/a.png', 'dog/b.png', 'dog/c.png']


def test_the_first_files_of_each_class(tmp_path):
    """Of the split only, sorted by name; small classes are complete."""
    make(tmp_path, ['train/b/9.png', 'train/b/1.png', 'train/b/5.png', 'train/a/7.png',
                    'val/a/1.png', 'val/a/2.png', 'val/a/3.png', 'val/b/0.png'])
    found = {split: names(ImageFolder(data_root=str(tmp_path), split=split, first_of_class=2))
             for split in ('train', 'val')}
    assert found == {'train': ['train/a/7.png', 'train/b/1.png', 'train/b/5.png'],
                     'val': ['val/a/1.png', 'val/a/2.png', 'val/b/0.png']}


def test_first_of_class_requires_classes(tmp_path):
    make(tmp_path, ['a.png', 'b.png'])
    with pytest.raises(InputError, match='first_of_class requires class labels'):
        ImageFolder(data_root=str(tmp_path), first_of_class=1)
    with pytest.raises(InputError, match='first_of_class=0 must be at least 1'):
        ImageFolder(data_root=str(tmp_path), first_of_class=0)


def test_links_that_lead_nowhere_are_named(tmp_path, logged):
    make(tmp_path, ['0.png', '2.png'])
    (tmp_path / '1.png').symlink_to(tmp_path / 'nowhere.png')
    (tmp_path / '.#0.png').symlink_to('an editor')
    dataset = ImageFolder(str(tmp_path), pipeline=[{'type': 'amt_mm.LoadImage'}])
    assert names(dataset) == ['0.png', '1.png', '2.png']
    with pytest.raises(UnreadableImage, match='1.png: .*the file does not exist'):
        dataset[1]
    assert names(ImageFolder(str(tmp_path), skip_unreadable=True)) == ['0.png', '2.png']
    assert any('1.png' in line for level, line in logged if level == 'WARNING')
