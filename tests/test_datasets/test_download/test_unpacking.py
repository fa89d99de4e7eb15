import io
import tarfile
import zipfile

import pytest

from amt_mm.datasets.download import unpack, unpacking
from amt_mm.errors import InputError

FILES = {'set/a.bin': b'first' * 1000, 'set/deep/er/b.txt': b'', 'set/c': b'third'}


def write_tar(path, files, mode='w', extra=()):
    with tarfile.open(path, mode) as tar:
        folder = tarfile.TarInfo('set')
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path


def write_zip(path, files, extra=()):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('set/', b'')
        for name, content in [*files.items(), *extra]:
            archive.writestr(name, content)
    return path


def write(tmp_path, kind, files=FILES):
    path = tmp_path / f'archive.{kind}'
    if kind == 'zip':
        return write_zip(path, files)
    return write_tar(path, files, f'w:{kind.removeprefix("tar").removeprefix(".")}')


def contents(folder):
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes()
            for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('kind', ['tar', 'tar.gz', 'tar.xz', 'zip'])
def test_the_folder_arrives_whole(tmp_path, kind):
    archive = write(tmp_path, kind, {**FILES, 'README': b'beside the folder'})
    root = tmp_path / 'deep' / 'root'
    unpack(archive, 'set', root)
    assert contents(root / 'set') == FILES
    assert [path.name for path in root.iterdir()] == ['set']


@pytest.mark.parametrize('kind', ['tar.gz', 'zip'])
@pytest.mark.parametrize('name', ['../evil', 'set/../../evil', '/tmp/amt_mm_evil', 'C:/evil',
                                  'set\\..\\..\\evil', '//host/share/evil'])
def test_no_member_leaves_its_folder(tmp_path, kind, name):
    archive = write(tmp_path, kind, {**FILES, name: b'evil'})
    root = tmp_path / 'deep' / 'root'
    with pytest.raises(InputError, match='lies outside its folder: it is not unpacked'):
        unpack(archive, 'set', root)
    assert list(root.iterdir()) == [], 'not in part either'
    assert not list(tmp_path.rglob('*evil*'))


@pytest.mark.parametrize('kind', ['tar.gz', 'zip'])
@pytest.mark.parametrize('name', ['n' * 256, '\u00e9' * 128, '/'.join(['n' * 250] * 17)])
def test_a_name_that_is_too_long_is_refused(tmp_path, kind, name):
    archive = write(tmp_path, kind, {**FILES, f'set/{name}': b'', 'set/z': b''})
    with pytest.raises(InputError, match='more than the system takes') as caught:
        unpack(archive, 'set', tmp_path / 'root')
    assert len(str(caught.value)) < 200 and list((tmp_path / 'root').iterdir()) == []


def test_a_zero_byte_in_a_name_is_refused(tmp_path):
    info = tarfile.TarInfo('set/x')
    info.pax_headers = {'path': 'set/x\0y'}
    archive = write_tar(tmp_path / 'a.tar', FILES, extra=[info])
    with pytest.raises(InputError, match='lies outside its folder'):
        unpack(archive, 'set', tmp_path / 'root')


def link(kind):
    info = tarfile.TarInfo('set/link')
    info.type, info.linkname = kind, '../../..'
    return info


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
                                  tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(tmp_path, kind):
    archive = write_tar(tmp_path / 'a.tar', FILES, extra=[link(kind)])
    with pytest.raises(InputError, match="'set/link' of the archive is a link or device"):
        unpack(archive, 'set', tmp_path / 'root')
    assert list((tmp_path / 'root').iterdir()) == []


def test_links_of_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo('set/link')
    info.external_attr = 0o120777 << 16
    archive = write_zip(tmp_path / 'a.zip', FILES, [(info, b'../../..')])
    with pytest.raises(InputError, match="'set/link' of the archive is a link or device"):
        unpack(archive, 'set', tmp_path / 'root')


@pytest.mark.parametrize('kind', ['tar', 'tar.gz', 'tar.xz', 'zip'])
def test_a_damaged_archive_leaves_nothing(tmp_path, kind):
    archive = write(tmp_path, kind, {f'set/{i}': bytes([i]) * 5000 for i in range(200)})
    content = archive.read_bytes()
    archive.write_bytes(content[:len(content) // 2])
    with pytest.raises(InputError, match=rf'archive.{kind}: damaged \(.+\); delete it') as caught:
        unpack(archive, 'set', tmp_path / 'root')
    assert '\n' not in str(caught.value)
    assert list((tmp_path / 'root').iterdir()) == []


def test_a_flipped_byte_in_a_zip_is_seen(tmp_path):
    archive = write(tmp_path, 'zip')
    content = bytearray(archive.read_bytes())
    content[content.index(b'set/a.bin') + 14] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InputError, match='damaged'):
        unpack(archive, 'set', tmp_path / 'root')


@pytest.mark.parametrize('content', [b'', b'<html>Sign in</html>' * 50])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / 'a.tar.gz').write_bytes(content)
    with pytest.raises(InputError, match='a.tar.gz: '):
        unpack(tmp_path / 'a.tar.gz', 'set', tmp_path / 'root')


def test_an_archive_without_the_folder(tmp_path):
    archive = write(tmp_path, 'tar.gz')
    with pytest.raises(InputError, match='has no folder other'):
        unpack(archive, 'other', tmp_path)


def test_what_an_interrupted_run_left_is_cleared(tmp_path):
    left = tmp_path / 'root' / '.set.partial'
    left.mkdir(parents=True)
    (left / 'half').write_bytes(b'half')
    unpack(write(tmp_path, 'tar.gz'), 'set', tmp_path / 'root')
    assert contents(tmp_path / 'root' / 'set') == FILES
    assert not left.exists()


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('zipfile.ZipExtFile.read', interrupt)
    with pytest.raises(KeyboardInterrupt):
        unpack(write(tmp_path, 'zip'), 'set', tmp_path / 'root')
    assert list((tmp_path / 'root').iterdir()) == []


@pytest.mark.parametrize('kind', ['tar.gz', 'tar.xz', 'zip'])
def test_a_bomb_stops_early(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(unpacking, '_SMALL', 1 << 20)
    archive = write(tmp_path, kind, {'set/a': bytes(1 << 25)})
    assert archive.stat().st_size < (1 << 25) / 300
    written = []
    real = unpacking.write_member
    monkeypatch.setattr(unpacking, 'write_member',
                        lambda *args: written.append(real(*args)) or written[-1])
    with pytest.raises(InputError, match='unpacks to more than 100 times its size'):
        unpack(archive, 'set', tmp_path / 'root')
    assert sum(written) < 100 * archive.stat().st_size + (3 << 20)
    assert list((tmp_path / 'root').iterdir()) == []


def test_a_bomb_of_empty_files(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, '_SMALL', 1 << 16)
    monkeypatch.setattr(unpacking, '_TIMES', 2)
    archive = write(tmp_path, 'tar.gz', {f'set/{i}': b'' for i in range(500)})
    with pytest.raises(InputError, match='unpacks to more than 2 times'):
        unpack(archive, 'set', tmp_path / 'root')


@pytest.mark.parametrize('kind', ['tar', 'zip'])
@pytest.mark.parametrize('names', [('set/a', 'set/a/b'), ('set/a/b', 'set/a')])
def test_a_file_where_a_folder_is(tmp_path, kind, names):
    archive = write(tmp_path, kind, dict.fromkeys(names, b'x'))
    with pytest.raises(InputError, match='a file and a folder of this name'):
        unpack(archive, 'set', tmp_path / 'root')
    assert list((tmp_path / 'root').iterdir()) == []


def test_a_link_to_write_through_is_refused_before_it_is_made(tmp_path):
    way = tarfile.TarInfo('set/way')
    way.type, way.linkname = tarfile.SYMTYPE, str(tmp_path / 'outside')
    (tmp_path / 'outside').mkdir()
    path = tmp_path / 'a.tar'
    with tarfile.open(path, 'w') as tar:
        tar.addfile(way)
        through = tarfile.TarInfo('set/way/evil')
        through.size = 4
        tar.addfile(through, io.BytesIO(b'evil'))
    with pytest.raises(InputError, match='is a link or device'):
        unpack(path, 'set', tmp_path / 'root')
    assert list((tmp_path / 'outside').iterdir()) == []
