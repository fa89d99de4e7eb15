"""download_dataset: the tool's main function against a server of this machine."""

import errno
import hashlib
import io
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from load_script import load_script

from amt_mm.datasets import TinyImageNet
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock

TOOL = Path(__file__).parents[2] / 'tools/dataset_tools/download_dataset.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; knows no ranges."""

    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address that serves it."""
    folder = tmp_path / 'served'
    folder.mkdir()
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(.01, ), daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def pack(path, files):
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, 'w:gz' if path.suffix == '.gz' else 'w') as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def offer(tool, served, monkeypatch):
    """The factory ``offer(name, files)``: an archive of the true name, and its source."""

    def make(name, files):
        folder, address = served
        source = tool.SOURCES[name]
        path = folder / source.filename
        pack(path, {f'{source.folder}/{file}': content for file, content in files.items()})
        content = path.read_bytes()
        monkeypatch.setitem(tool.SOURCES, name, replace(
            source, url=f'{address}/{source.filename}', size=len(content),
            md5=hashlib.md5(content).hexdigest()))
        return path

    return make


@pytest.fixture
def run(tool, tmp_path, monkeypatch, capsys):
    """The factory ``run(*arguments)`` of exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['download_dataset.py', *map(str, arguments)])
        status = 0
        try:
            tool.main()
        except SystemExit as exit_:
            status = exit_.code
        return status, *capsys.readouterr()

    return call


FILES = {'one.bin': b'first' * 999, 'deep/two.txt': b'second'}


@pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'tiny-imagenet', 'stl10'])
def test_fetched_verified_unpacked_and_then_left_alone(tool, offer, run, tmp_path, name):
    offer(name, FILES)
    status, out, err = run(name, '--root', 'some/root')
    source = tool.SOURCES[name]
    folder = Path('some/root', source.holder, source.folder)
    assert (status, err) == (0, ''), 'no bar where the output is no terminal'
    assert f'{folder} is complete' in out
    assert {file: (tmp_path / folder / file).read_bytes() for file in FILES} == FILES
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, '.lock'}
    # Nothing is asked of the network again.
    tool.SOURCES[name] = replace(source, url='http://127.0.0.1:1/')
    status, out, err = run(name, '--root', 'some/root')
    assert status == 0 and f'{folder} exists, nothing to do' in out


def test_two_commands_do_not_unpack_into_one_folder(offer, run, tmp_path):
    archive = offer('tiny-imagenet', FILES)
    with file_lock(tmp_path / 'data'):
        status, _, err = run('tiny-imagenet', '--archive', archive)
    assert status == 2 and 'another process is working in this folder' in err


def test_several_at_once_into_the_default_folder(offer, run, tmp_path):
    offer('cifar10', FILES)
    offer('tiny-imagenet', FILES)
    assert run('cifar10', 'tiny-imagenet')[0] == 0
    assert {path.name for path in (tmp_path / 'data').iterdir()} == {
        'cifar10', 'tiny-imagenet-200', '.lock'}


@pytest.mark.slow
def test_the_data_set_reads_what_its_message_told_to_fetch(offer, run):
    image = cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    offer('tiny-imagenet', {
        'wnids.txt': b'n02\nn01\n', 'train/n01/images/a.JPEG': image,
        'train/n02/images/b.JPEG': image})
    with pytest.raises(InputError) as caught:
        TinyImageNet(data_root='here/tiny-imagenet-200')
    command = str(caught.value).partition('amt download ')[2].split()
    assert run(*command)[0] == 0
    assert TinyImageNet(data_root='here/tiny-imagenet-200').get_gt_labels().tolist() == [0, 1]


def test_an_interrupted_download_goes_on(offer, run, tmp_path):
    archive = offer('stl10', FILES)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / f'{archive.name}.part').write_bytes(archive.read_bytes()[:50])
    assert run('stl10')[0] == 0
    assert (tmp_path / 'data/stl10_binary/deep/two.txt').read_bytes() == b'second'


def test_an_archive_that_is_there_is_used_and_stays(offer, run, tmp_path):
    archive = offer('cifar100', FILES)
    kept = archive.rename(tmp_path / 'kept.tar.gz')
    assert run('cifar100', '--archive', kept)[0] == 0
    assert kept.exists() and (tmp_path / 'data/cifar100/cifar-100-python/one.bin').exists()
    beside = tmp_path / 'data/cifar10/cifar-10-python.tar.gz'
    beside.parent.mkdir()
    offer('cifar10', FILES).rename(beside)
    assert run('cifar10')[0] == 0
    assert beside.exists() and (tmp_path / 'data/cifar10/cifar-10-batches-py').is_dir()


def test_a_mirror(offer, run, served, tmp_path):
    archive = offer('cifar10', FILES)
    archive.rename(archive.with_name('mirrored.bin'))
    status, _, err = run('cifar10')
    assert status == 2 and '404' in err and err.count('\n') == 1
    assert run('cifar10', '--url', f'{served[1]}/mirrored.bin')[0] == 0
    assert (tmp_path / 'data/cifar10/cifar-10-batches-py/one.bin').exists()


def test_a_wrong_archive_is_not_unpacked(offer, run, tmp_path):
    archive = offer('cifar10', FILES)
    other = tmp_path / 'other.tar.gz'
    other.write_bytes(archive.read_bytes()[:-1])
    status, _, err = run('cifar10', '--archive', other)
    assert status == 2 and 'error: ' in err and 'md5' in err and err.count('\n') == 1
    assert other.exists() and not (tmp_path / 'data/cifar10/cifar-10-batches-py').exists()


@pytest.mark.parametrize(('number', 'message'), [
    (errno.ENOSPC, 'x: the disk is full: make room'), (errno.EACCES, 'x: Permission denied')])
def test_trouble_with_the_disk_is_one_line(offer, run, monkeypatch, tmp_path, number, message):
    def refuse(*args):
        raise OSError(number, 'Permission denied', 'x')

    offer('cifar10', FILES)
    monkeypatch.setattr('amt_mm.datasets.download.unpacking.write_member', refuse)
    status, _, err = run('cifar10')
    assert status == 2 and f'error: {message}' in err and err.count('\n') == 1
    left = {path.suffix for path in (tmp_path / 'data/cifar10').iterdir()}
    assert left == {'.gz', ''}, 'archive and lock: it need not be fetched again'


@pytest.mark.parametrize('arguments', [
    [], ['mnist'], ['cifar10', 'stl10', '--url', 'http://x/y'], ['imagenet', 'stl10'],
    ['cifar10', '--archive', 'a', 'b'], ['imagenet', '--url', 'http://x/y'],
    ['cifar10', '--url', 'http://x/y', '--archive', 'a']])
def test_usage(run, arguments):
    status, _, err = run(*arguments)
    assert status == 2 and 'usage:' in err


def test_imagenet_without_archives_says_page_and_files(run):
    status, _, err = run('imagenet')
    assert status == 2 and err.count('\n') == 1
    for word in ('account', 'image-net.org', 'ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar',
                 'ILSVRC2012_devkit_t12.tar.gz', '--archive'):
        assert word in err


@pytest.fixture
def train_tar(tool, tmp_path, monkeypatch):
    inner = tmp_path / 'inner.tar'
    pack(inner, {'n01440764_1.JPEG': b'image'})
    path = tmp_path / tool.TRAIN.filename
    pack(path, {'n01440764.tar': inner.read_bytes()})
    monkeypatch.setattr(tool, 'TRAIN', replace(
        tool.TRAIN, md5=hashlib.md5(path.read_bytes()).hexdigest()))
    return path


def test_imagenet_is_unpacked(run, train_tar, tmp_path):
    status, out, _ = run('imagenet', '--archive', train_tar)
    assert status == 0 and 'has 1 images' in out
    image = tmp_path / 'data/imagenet/train/n01440764/n01440764_1.JPEG'
    assert image.read_bytes() == b'image'
    status, out, _ = run('imagenet', '--archive', train_tar)
    assert status == 0 and 'exists, nothing to do' in out


def test_imagenets_archives_are_verified(tool, run, train_tar, tmp_path):
    train_tar.write_bytes(train_tar.read_bytes() + b'!')
    status, _, err = run('imagenet', '--archive', train_tar)
    assert status == 2 and 'md5' in err
    assert not (tmp_path / 'data/imagenet/train').exists()
    status, _, err = run('imagenet', '--archive', tmp_path / tool.VAL.filename)
    assert status == 2 and 'has no labels: give ILSVRC2012_devkit_t12.tar.gz' in err
    status, _, err = run('imagenet', '--archive', 'images.tar')
    assert status == 2 and 'images.tar: is not one of ILSVRC2012_img_train.tar' in err
