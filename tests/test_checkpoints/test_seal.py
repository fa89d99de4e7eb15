"""Any changed bit of a sealed file is seen; the oracle of the digest is hashlib over the bytes."""

import hashlib
import zipfile

import pytest
import torch

from amt_mm.checkpoints import read_checkpoint, write_checkpoint
from amt_mm.checkpoints.seal import check_seal, seal
from amt_mm.errors import InputError


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {'a': torch.rand(3, 5), 'b': torch.ones(1)}}, path)
    seal(path)
    return path


def test_the_file_ends_with_the_digest_of_the_rest(sealed):
    content = sealed.read_bytes()
    assert hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]
    assert check_seal(sealed)


@pytest.mark.parametrize('mmap', [False, True])
def test_torch_and_zip_read_it_as_before(tmp_path, mmap):
    content = {'state_dict': {'a': torch.rand(300, 5)}, 'epoch': 3}
    torch.save(content, tmp_path / 'a.pth')
    seal(tmp_path / 'a.pth')
    read = torch.load(tmp_path / 'a.pth', mmap=mmap)
    assert read['epoch'] == 3
    assert torch.equal(read['state_dict']['a'], content['state_dict']['a'])
    with zipfile.ZipFile(tmp_path / 'a.pth') as archive:
        assert archive.testzip() is None


def test_every_flipped_bit_is_seen(sealed):
    content = sealed.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        # A name of its own each: a file is read once as long as nothing about it changes.
        path = sealed.with_name(f'{place}.pth')
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf'{place}\.pth: the checkpoint is damaged'):
            read_checkpoint(path)
        path.unlink()


@pytest.mark.parametrize('change', [
    lambda content: content[:-1], lambda content: content[:-78], lambda content: content[:200],
    lambda content: content + b'\0', lambda content: content[:100] + content[101:],
    lambda content: content[:-64] + b'0' * 64, lambda content: b'PK'])
def test_cut_or_extended(sealed, change):
    changed = sealed.with_name('changed.pth')
    changed.write_bytes(change(sealed.read_bytes()))
    with pytest.raises(InputError, match='damaged or truncated'):
        check_seal(changed)


def test_a_file_that_changes_is_read_again(sealed):
    assert check_seal(sealed)
    content = bytearray(sealed.read_bytes())
    content[70] ^= 1
    sealed.write_bytes(content)
    with pytest.raises(InputError, match='its digest differs'):
        check_seal(sealed)


def test_files_that_were_never_sealed(tmp_path):
    torch.save({'a': torch.ones(2)}, tmp_path / 'new.pth')
    torch.save({'a': torch.ones(2)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    (tmp_path / 'empty.pth').write_bytes(b'')
    for name in ('new.pth', 'old.pth', 'empty.pth'):
        assert not check_seal(tmp_path / name)
    before = (tmp_path / 'old.pth').read_bytes()
    seal(tmp_path / 'old.pth')
    assert (tmp_path / 'old.pth').read_bytes() == before


def test_written_checkpoints_are_sealed(tmp_path):
    write_checkpoint(tmp_path / 'a.pth', {'backbone.x': torch.ones(3)})
    assert check_seal(tmp_path / 'a.pth')
