import io
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from amt_mm.datasets import ImageNet
from amt_mm.datasets.download import unpack_train, unpack_val
from amt_mm.datasets.download.ilsvrc import read_val_wnids
from amt_mm.errors import InputError

# The challenge's numbers are not in the order of the sorted ids.
WNIDS = {1: 'n02119789', 2: 'n02100735', 3: 'n01440764'}
TRUTH = [3, 1, 1, 2, 3]


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_devkit(path, truth=TRUTH, synsets=WNIDS, compress=True):
    """The two files of the devkit that are read; non-leaf synsets come last, as there."""
    fields = ['ILSVRC2012_ID', 'WNID', 'words', 'gloss', 'num_children', 'children',
              'wordnet_height', 'num_train_images']
    rows = [(number, wnid, f'name {number}, other', '', 0, np.zeros((1, 0)), 0, 1300)
            for number, wnid in synsets.items()]
    rows += [(1001, 'n00001740', 'entity', 'that which is', 2, np.array([1., 2.]), 19, 0),
             (1002, 'n00001930', 'e', 'x', 1, np.array([3.]), 7, 0)]
    array = np.empty((len(rows), 1), dtype=[(field, object) for field in fields])
    for index, row in enumerate(rows):
        array[index, 0] = row
    meta = io.BytesIO()
    savemat(meta, {'synsets': array}, do_compression=compress)
    with tarfile.open(path, 'w:gz') as tar:
        add(tar, 'ILSVRC2012_devkit_t12/readme.txt', b'read me')
        add(tar, 'ILSVRC2012_devkit_t12/data/meta.mat', meta.getvalue())
        add(tar, 'ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt',
            ''.join(f'{number}\n' for number in truth).encode())
    return path


def write_val(path, count=5):
    with tarfile.open(path, 'w') as tar:
        # In another order, so that the number in the name matters.
        for number in range(count, 0, -1):
            add(tar, f'ILSVRC2012_val_{number:08d}.JPEG', b'val %d' % number)
    return path


def write_train(path, names=None):
    with tarfile.open(path, 'w') as tar:
        for wnid in WNIDS.values():
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode='w') as class_tar:
                for number in (10026, 3):
                    add(class_tar, f'{wnid}_{number}.JPEG', f'{wnid} {number}'.encode() * 400)
            add(tar, names or f'{wnid}.tar', inner.getvalue())
    return path


def test_training_images_are_in_class_folders(tmp_path):
    assert unpack_train(write_train(tmp_path / 'train.tar'), tmp_path / 'root') == 6
    found = {path.relative_to(tmp_path / 'root').as_posix(): path.read_bytes()
             for path in (tmp_path / 'root').rglob('*.JPEG')}
    assert found == {f'train/{wnid}/{wnid}_{number}.JPEG': f'{wnid} {number}'.encode() * 400
                     for wnid in WNIDS.values() for number in (10026, 3)}


@pytest.mark.parametrize('compress', [True, False])
def test_validation_images_are_in_class_folders(tmp_path, compress):
    root = tmp_path / 'root'
    devkit = write_devkit(tmp_path / 'devkit.tar.gz', compress=compress)
    assert unpack_val(write_val(tmp_path / 'val.tar'), devkit, root) == 5
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob('*.JPEG')}
    assert found == {f'val/{WNIDS[number]}/ILSVRC2012_val_{i:08d}.JPEG': b'val %d' % i
                     for i, number in enumerate(TRUTH, 1)}


def test_train_and_val_number_the_classes_equally(tmp_path):
    devkit = write_devkit(tmp_path / 'devkit.tar.gz')
    unpack_train(write_train(tmp_path / 'train.tar'), tmp_path)
    unpack_val(write_val(tmp_path / 'val.tar'), devkit, tmp_path)
    train, val = (ImageNet(data_root=str(tmp_path), split=split, classes=list('abc'))
                  for split in ('train', 'val'))
    assert train.folder_to_idx == val.folder_to_idx
    # Sorted ids: n01440764 (number 3), n02100735 (2), n02119789 (1).
    assert sorted(val.get_gt_labels().tolist()) == sorted(3 - number for number in TRUTH)


def test_numbers_of_images_and_labels_must_agree(tmp_path):
    devkit = write_devkit(tmp_path / 'devkit.tar.gz')
    with pytest.raises(InputError, match='4 images, but 5 labels'):
        unpack_val(write_val(tmp_path / 'val.tar', 4), devkit, tmp_path / 'root')
    with pytest.raises(InputError, match='has no label for ILSVRC2012_val_00000006.JPEG'):
        unpack_val(write_val(tmp_path / 'val.tar', 6), devkit, tmp_path / 'root')
    assert list((tmp_path / 'root').iterdir()) == []


def test_other_archives_are_refused(tmp_path):
    train, val = write_train(tmp_path / 'train.tar'), write_val(tmp_path / 'val.tar')
    with pytest.raises(InputError, match="unexpected member 'ILSVRC2012_val_00000005.JPEG'"):
        unpack_train(val, tmp_path / 'root')
    with pytest.raises(InputError, match="unexpected member 'n02119789.tar'"):
        unpack_val(train, write_devkit(tmp_path / 'devkit.tar.gz'), tmp_path / 'root')
    with pytest.raises(InputError, match='../n02119789.tar'):
        unpack_train(write_train(tmp_path / 'evil.tar', '../n02119789.tar'), tmp_path / 'root')
    with pytest.raises(InputError, match='it lacks .*meta.mat'):
        read_val_wnids(val)
    assert list((tmp_path / 'root').iterdir()) == []


def test_a_meta_file_that_cannot_be_read(tmp_path):
    with tarfile.open(tmp_path / 'devkit.tar.gz', 'w:gz') as tar:
        add(tar, 'data/meta.mat', b'MATLAB 5.0 MAT-file' * 20)
        add(tar, 'data/ILSVRC2012_validation_ground_truth.txt', b'1\n')
    with pytest.raises(InputError, match=r'meta.mat cannot be read \(\w+: .*\)') as caught:
        read_val_wnids(tmp_path / 'devkit.tar.gz')
    assert '\n' not in str(caught.value)


def test_a_truncated_train_archive_leaves_nothing(tmp_path):
    path = write_train(tmp_path / 'train.tar')
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(InputError, match='damaged'):
        unpack_train(path, tmp_path / 'root')
    assert list((tmp_path / 'root').iterdir()) == []
