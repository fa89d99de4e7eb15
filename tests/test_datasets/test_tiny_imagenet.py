import pytest
import torchvision
from true_formats import write_tiny_imagenet

from amt_mm.datasets import TinyImageNet
from amt_mm.errors import InputError

# Not sorted, as in the archive.
WNIDS = ['n02124075', 'n04067472', 'n01443537', 'n03970156']


@pytest.fixture
def folder(tmp_path):
    return write_tiny_imagenet(tmp_path / 'tiny-imagenet-200', WNIDS, train=3, val=6)


def test_training_labels_equal_those_of_class_folder_loaders(folder):
    dataset = TinyImageNet(data_root=str(folder))
    theirs = torchvision.datasets.ImageFolder(str(folder / 'train'))
    found = [(info['img_path'], info['gt_label'])
             for info in map(dataset.get_data_info, range(len(dataset)))]
    assert found == theirs.samples and len(found) == 12


def test_validation_labels_are_those_of_the_annotations(folder):
    dataset = TinyImageNet(data_root=str(folder), split='val')
    # Line i has class WNIDS[i % 4], whose place in sorted order is:
    place = {'n02124075': 1, 'n04067472': 3, 'n01443537': 0, 'n03970156': 2}
    assert dataset.get_gt_labels().tolist() == [place[WNIDS[i % 4]] for i in range(6)]
    assert [dataset.get_data_info(i)['img_path'] for i in range(6)] == [
        str(folder / 'val' / 'images' / f'val_{i}.JPEG') for i in range(6)]


@pytest.mark.slow
def test_class_names(folder):
    def names(**kwargs):
        return TinyImageNet(data_root=str(folder), **kwargs).metainfo['classes']

    assert names() == tuple(f'thing {wnid}, object' for wnid in sorted(WNIDS))
    assert names(classes=list('abcd')) == tuple('abcd')
    (folder / 'words.txt').unlink()
    assert names(split='val') == tuple(sorted(WNIDS))


def test_a_missing_folder_names_the_path_and_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        TinyImageNet(data_root='data/tiny-imagenet-200')
    assert str(caught.value) == (
        'data/tiny-imagenet-200: does not exist; get the data set by: '
        'amt download tiny-imagenet --root data')


@pytest.mark.parametrize(('number', 'line', 'message'), [
    (2, 'val_1.JPEG\tn99999999\t0\t1\t2\t3', 'class n99999999 is not in wnids.txt'),
    (3, 'val_9.JPEG\tn01443537\t0\t1\t2\t3', r'val_9.JPEG is not in .*val/images'),
    (4, 'val_3.JPEG n03970156', "'val_3.JPEG n03970156' is not an image, a tab and a class"),
    (4, '', "'' is not an image, a tab and a class"),
    (6, 'val_0.JPEG\tn02124075', 'val_0.JPEG is in an earlier line, too')])
def test_a_wrong_line_is_named(folder, number, line, message):
    annotations = folder / 'val' / 'val_annotations.txt'
    lines = annotations.read_text().splitlines()
    lines[number - 1] = line
    annotations.write_text('\n'.join(lines) + '\n')
    with pytest.raises(InputError, match=rf'val_annotations.txt:{number}: {message}') as caught:
        TinyImageNet(data_root=str(folder), split='val')
    assert '\n' not in str(caught.value)


def test_images_and_lines_must_match(folder):
    annotations = folder / 'val' / 'val_annotations.txt'
    annotations.write_text(''.join(annotations.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(InputError, match='has no line for val_4.JPEG, one of 2 such images'):
        TinyImageNet(data_root=str(folder), split='val')


def test_missing_parts_are_named(folder):
    for image in (folder / 'train' / WNIDS[2] / 'images').iterdir():
        image.unlink()
    with pytest.raises(InputError, match='n01443537/images: has no images; move'):
        TinyImageNet(data_root=str(folder))
    (folder / 'train' / WNIDS[2] / 'images').rmdir()
    with pytest.raises(InputError, match='n01443537/images: is missing'):
        TinyImageNet(data_root=str(folder))


@pytest.mark.parametrize('arguments', [{'split': 'test', 'data_root': 'x'}, {'data_root': ''}])
def test_arguments(arguments):
    with pytest.raises(InputError, match='split=|data_root is empty'):
        TinyImageNet(**arguments)
