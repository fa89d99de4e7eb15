import os

import pytest

from amt_mm.datasets import ImageNet
from amt_mm.errors import InputError

WNIDS = ['n01440764', 'n01443537', 'n02124075']
THREE = dict(classes=['tench', 'goldfish', 'cat'])


def touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    return root


def found(dataset):
    return [(info['img_path'].rpartition('/')[2], info.get('gt_label'))
            for info in map(dataset.get_data_info, range(len(dataset)))]


def test_class_folders(tmp_path):
    for split in ('train', 'val'):
        touch(tmp_path, [f'{split}/{wnid}/{wnid}_{i}.JPEG' for wnid in WNIDS[::-1]
                         for i in range(2)])
        dataset = ImageNet(data_root=str(tmp_path), split=split, **THREE)
        assert found(dataset) == [(f'{wnid}_{i}.JPEG', label) for label, wnid in enumerate(WNIDS)
                                  for i in range(2)]


def test_a_list_of_labels(tmp_path):
    other = os.fsdecode(b'\xe9.JPEG')
    touch(tmp_path, ['val/b.JPEG', f'val/{other}'])
    (tmp_path / 'meta').mkdir()
    for mark in (b'', b'\xef\xbb\xbf'):  # of UTF-8, by editors of Windows
        (tmp_path / 'meta' / 'val.txt').write_bytes(mark + b'b.JPEG 999\n\xe9.JPEG 7\n')
        dataset = ImageNet(data_root=str(tmp_path), split='val')
        assert found(dataset) == [('b.JPEG', 999), (other, 7)]
    assert len(dataset.CLASSES) == 1000


def test_the_test_split_has_no_labels(tmp_path):
    touch(tmp_path, ['test/b.JPEG', 'test/a.JPEG'])
    assert found(ImageNet(data_root=str(tmp_path), split='test')) == [
        ('a.JPEG', None), ('b.JPEG', None)]


def test_a_missing_folder_names_the_path_and_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        ImageNet(data_root='data/imagenet', split='val')
    assert str(caught.value) == (
        'data/imagenet/val: does not exist; download the archives of ImageNet with an account of '
        'yours, and unpack them by: amt download imagenet '
        '--root data --archive FILE FILE FILE')


def test_refuses_wrong_folders(tmp_path):
    touch(tmp_path, ['train/n01440764/a.JPEG', 'train/n01443537/a.JPEG', 'val/a.JPEG'])
    (tmp_path / 'test').mkdir()
    with pytest.raises(InputError, match='train: has 2 class folders instead of 1000'):
        ImageNet(data_root=str(tmp_path), split='train')
    with pytest.raises(InputError, match='val: has no class folders; .*meta/val.txt'):
        ImageNet(data_root=str(tmp_path), split='val')
    with pytest.raises(InputError, match='test: has no images'):
        ImageNet(data_root=str(tmp_path), split='test')


@pytest.mark.parametrize('line', ['a.JPEG', 'a.JPEG 1000', 'a.JPEG -1', '', '7',
                                  f'a.JPEG {"9" * 5000}'])
def test_a_wrong_line_is_named(tmp_path, line):
    touch(tmp_path, ['val/b.JPEG'])
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta' / 'val.txt').write_text(f'b.JPEG 1\n{line}\nb.JPEG 1\n')
    with pytest.raises(InputError, match=rf'val.txt:2: {line!r} is not a path and a label below'):
        ImageNet(data_root=str(tmp_path), split='val')


def test_a_missing_list_is_named(tmp_path):
    touch(tmp_path, ['val/b.JPEG'])
    with pytest.raises(InputError, match='meta/mine.txt: does not exist'):
        ImageNet(data_root=str(tmp_path), split='val', ann_file='meta/mine.txt')


@pytest.mark.slow
def test_pretraining_takes_any_folders(tmp_path):
    """Three classes, loose images, or a list that is there or not."""
    touch(tmp_path, [f'train/{wnid}/a.JPEG' for wnid in WNIDS] + ['val/a.JPEG', 'val/b.JPEG'])
    three = ImageNet(data_root=str(tmp_path), split='train', with_label=None)
    assert found(three) == [('a.JPEG', 0), ('a.JPEG', 1), ('a.JPEG', 2)]
    assert three.metainfo['classes'] == tuple(WNIDS)
    few = dict(data_root=str(tmp_path), with_label=None, first_of_class=1)
    assert len(ImageNet(split='train', **few)) == 3
    listed = dict(data_root=str(tmp_path), ann_file='meta/train.txt', with_label=None)
    assert len(ImageNet(data_prefix='train', **listed)) == 3
    loose = ImageNet(data_prefix='val', **listed)
    assert found(loose) == [('a.JPEG', None), ('b.JPEG', None)]
    touch(tmp_path, ['meta/train.txt'])
    (tmp_path / 'meta/train.txt').write_text('b.JPEG 999\n')
    assert found(ImageNet(data_prefix='val', **listed)) == [('b.JPEG', 999)]
    with pytest.raises(InputError, match='test: does not exist'):
        ImageNet(data_prefix='test', **listed)


@pytest.mark.parametrize('arguments', [{'split': 'valid', 'data_root': 'x'}, {'split': 'val'}])
def test_arguments(arguments):
    with pytest.raises(InputError, match='split=|data_root is empty'):
        ImageNet(**arguments)


def test_the_first_files_of_each_class(tmp_path):
    """Sorted by name, whatever the order on disk or in the list; small classes are complete."""
    files = {WNIDS[0]: ['b', 'a', 'c'], WNIDS[1]: ['z'], WNIDS[2]: ['m', 'k', 'l']}
    touch(tmp_path, [f'train/{wnid}/{name}.JPEG' for wnid, names in files.items()
                     for name in names])
    dataset = ImageNet(data_root=str(tmp_path), split='train', first_of_class=2, **THREE)
    assert found(dataset) == [('a.JPEG', 0), ('b.JPEG', 0), ('z.JPEG', 1), ('k.JPEG', 2),
                              ('l.JPEG', 2)]


def test_first_of_class_requires_classes(tmp_path):
    touch(tmp_path, ['test/b.JPEG'])
    with pytest.raises(InputError, match='first_of_class requires class labels'):
        ImageNet(data_root=str(tmp_path), split='test', first_of_class=2)
    with pytest.raises(InputError, match='must be at least 1'):
        ImageNet(data_root=str(tmp_path), split='train', first_of_class=0)
