"""The newest intact checkpoint: order, every kind of damage, and resumed runs."""

import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from amt_mm.checkpoints.newest import (
    check_checkpoint,
    checkpoints,
    has_begun,
    maps_named,
    newest_whole,
)
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook


def touch(folder, *names, last=None):
    """Small files, each newer than the one before."""
    folder.mkdir(exist_ok=True)
    for second, name in enumerate(names, 1_700_000_000):
        (folder / name).write_bytes(b'x')
        os.utime(folder / name, (second, second))
    if last:
        (folder / 'last_checkpoint').write_text(str(last))
    return folder


@pytest.mark.parametrize(('files', 'last', 'expected'), [
    (['epoch_9.pth', 'epoch_10.pth'], None, ['epoch_10.pth', 'epoch_9.pth']),
    # Resumed from epoch 3: what it wrote then is the newest.
    (['epoch_3.pth', 'epoch_8.pth', 'epoch_4.pth'], 'epoch_4.pth',
     ['epoch_4.pth', 'epoch_8.pth', 'epoch_3.pth']),
    # Killed between writing the checkpoint and `last_checkpoint`.
    (['epoch_1.pth', 'epoch_2.pth'], 'epoch_1.pth', ['epoch_2.pth', 'epoch_1.pth']),
    # Copied in another order.
    (['epoch_10.pth', 'epoch_9.pth'], 'epoch_10.pth', ['epoch_10.pth', 'epoch_9.pth']),
    # `last_checkpoint` is empty, names a moved folder, or is binary.
    (['epoch_1.pth'], '', ['epoch_1.pth']),
    (['epoch_1.pth', 'epoch_2.pth'], '/gone/epoch_2.pth', ['epoch_2.pth', 'epoch_1.pth']),
    # Best, published and partial checkpoints and folders cannot be resumed from.
    (['epoch_1.pth', 'best_acc_epoch_9.pth', 'epoch_9-0123abcd.pth', '.epoch_9.pth.saving',
      'encoder.pth'], None, ['epoch_1.pth']),
    (['state_7.pth', 'run2_8.pth'], None, ['run2_8.pth', 'state_7.pth'])])
def test_newest_first(tmp_path, files, last, expected):
    folder = touch(tmp_path / 'run', *files)
    if last is not None:
        (folder / 'last_checkpoint').write_text(
            last if os.path.isabs(last) or not last else str(folder / last))
    assert [path.name for path in checkpoints(folder)] == expected


@pytest.mark.parametrize('last', ['iter_15.pth', 'epoch_2.pth'])
@pytest.mark.parametrize('written', [['epoch_2.pth', 'iter_15.pth'],
                                     ['iter_15.pth', 'epoch_2.pth']])
def test_epochs_and_iterations_compare_by_what_they_hold(tmp_path, written, last):
    """Epoch 2 ends at iteration 10; a copy may exchange the times, and a kill precede the note."""
    folder = touch(tmp_path / 'run', *written, last=last)
    for second, name in enumerate(written, 1_700_000_000):
        torch.save(dict(meta=dict(iter=15 if name == 'iter_15.pth' else 10)), folder / name)
        os.utime(folder / name, (second, second))
    newest, _ = checkpoints(folder)
    assert newest.name == ('epoch_2.pth' if [*written, last] == [
        'iter_15.pth', 'epoch_2.pth', 'epoch_2.pth'] else 'iter_15.pth')


def test_another_folder_is_used_only_if_the_config_names_it(tmp_path):
    out = touch(tmp_path / 'out', 'epoch_1.pth', 'epoch_2.pth')
    work_dir = touch(tmp_path / 'run', last='epoch_1.pth')
    os.utime(out / 'epoch_1.pth', (2e9, 2e9))
    assert checkpoints(work_dir, out) == [out / 'epoch_1.pth', out / 'epoch_2.pth']
    (work_dir / 'last_checkpoint').write_text(str(out / 'epoch_2.pth'))
    assert checkpoints(work_dir) == []


@pytest.mark.parametrize('note', [
    'x' * 100_000, '\0', '../' * 2000, '/', '..', 'epoch_1.pth/..', '\x1b[2J\nepoch_9.pth'])
def test_last_checkpoint_is_only_a_hint(tmp_path, note):
    folder, said = touch(tmp_path / 'run', 'epoch_1.pth', 'epoch_2.pth'), []
    (folder / 'last_checkpoint').write_text(note)
    assert [path.name for path in checkpoints(folder)] == ['epoch_2.pth', 'epoch_1.pth']
    with pytest.raises(InputError, match='none of the 2 checkpoints'):
        newest_whole(folder, said.append)
    assert not any(len(line) > 600 or '\n' in line or '\x1b' in line for line in said)


def test_a_run_has_begun_with_its_first_checkpoint(tmp_path):
    assert not has_begun(tmp_path / 'none')
    assert not has_begun(touch(tmp_path / 'a', 'best_acc_epoch_1.pth'))
    assert has_begun(touch(tmp_path / 'b', 'epoch_1.pth'))
    assert has_begun(touch(tmp_path / 'c', last='gone/epoch_1.pth'))


# --- damage ------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A small file that torch.save wrote."""
    path = tmp_path_factory.mktemp('whole') / 'epoch_2.pth'
    torch.manual_seed(0)
    torch.save(dict(meta=dict(epoch=2), state_dict={'a': torch.rand(40, 7), 'b': torch.ones(3)}),
               path)
    return path


def test_an_intact_file_passes(whole, tmp_path):
    check_checkpoint(whole, tmp_path)


def test_a_file_truncated_anywhere_is_refused(whole, tmp_path):
    content, path = whole.read_bytes(), tmp_path / 'epoch_2.pth'
    for length in (0, 1, 3, *range(4, len(content), 37), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r'epoch_2\.pth: the checkpoint is damaged or trunc'):
            check_checkpoint(path)


@pytest.mark.slow
def test_no_flipped_bit_changes_what_is_read(whole, tmp_path):
    """Detected, or in unused bytes (padding, dates), where all that is read stays the same."""
    content, path, draw = whole.read_bytes(), tmp_path / 'epoch_2.pth', random.Random(0)
    right, found = torch.load(whole), 0
    with zipfile.ZipFile(whole) as archive:
        payload = sum(info.file_size for info in archive.infolist())
    places = range(0, len(content), 3)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            check_checkpoint(path, tmp_path)
        except InputError as error:
            found += 1
            assert '\n' not in str(error)
        else:
            read = torch.load(path)
            assert read['meta'] == right['meta']
            assert all(torch.equal(read['state_dict'][k], v)
                       for k, v in right['state_dict'].items())
    assert found / len(places) > payload / len(content)


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>', b'\0' * 5000])
def test_other_formats_are_refused(tmp_path, content):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(content)
    with pytest.raises(InputError, match='damaged or truncated'):
        check_checkpoint(path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme', 'text')
    with pytest.raises(InputError, match='archive of something else'):
        check_checkpoint(path)


def test_a_member_that_claims_to_be_a_folder(whole, tmp_path):
    """Torch then returns uninitialised memory, which the archive's checksums miss."""
    content, path = bytearray(whole.read_bytes()), tmp_path / 'epoch_2.pth'
    entry = content.rindex(b'PK\x01\x02', 0, content.rindex(b'/data/0'))
    content[entry + 38] ^= 0x10
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with pytest.raises(InputError, match='data/0 is marked as a folder'):
        check_checkpoint(path)


def test_a_file_of_old_torch_passes(tmp_path):
    torch.save({'a': torch.ones(3)}, tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    check_checkpoint(tmp_path / 'a.pth')


# --- runs --------------------------------------------------------------------------------------


@pytest.fixture
def guided(toy_runner):
    """The factory of guided runs of 3 epochs; refreshes before epochs 2 and 3."""
    def make(work_dir='run', **changes):
        return toy_runner(work_dir, epochs=3, kind=OverlayRunner, **changes,
                          hooks=[SaliencyUpdateHook(1, 1)])
    return make


@pytest.fixture
def broken_off(guided):
    runner = guided()
    runner.train()
    return Path(runner.work_dir)


def test_a_copied_folder_resumes_from_its_own_files(guided, broken_off, toy_runner, capsys):
    """Also with MMEngine's `last_checkpoint`, which names the original by its full path."""
    copy = broken_off.with_name('copy')
    for name in ('epoch_1.pth', 'epoch_2.pth', 'saliency'):
        target = copy / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if name == 'saliency' else shutil.copy)(broken_off / name, target)
    for note, foreign in ((str(broken_off / 'epoch_3.pth'), True), ('epoch_2.pth', False)):
        (copy / 'last_checkpoint').write_text(note)
        runner = guided('copy', resume=True)
        capsys.readouterr()
        runner.load_or_resume()
        assert runner.epoch == 2 and Path(runner._load_from).parent == copy
        assert ('only files there are used' in capsys.readouterr().err) == foreign


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def resumed(guided, capsys):
    capsys.readouterr()
    runner = guided(resume=True)
    runner.load_or_resume()
    said = capsys.readouterr()
    return runner.epoch, [line for line in (said.out + said.err).splitlines() if 'skipped' in line]


@pytest.mark.slow
def test_the_maps_of_a_checkpoint_are_known(broken_off):
    named = [maps_named(broken_off / f'epoch_{epoch}.pth') for epoch in (1, 2, 3)]
    assert [[entry['file'] for entry in each] for each in named] == [
        [], ['epoch_1.amtmap'], ['epoch_2.amtmap']]


def test_a_damaged_checkpoint_or_map_is_skipped_with_a_warning(guided, broken_off, capsys):
    assert resumed(guided, capsys) == (3, [])
    # The map of the newest, then the checkpoint before it.
    with open(broken_off / 'saliency/epoch_2.amtmap', 'r+b') as file:
        file.seek(-5, 2)
        file.write(b'?')
    epoch, lines = resumed(guided, capsys)
    assert epoch == 2 and len(lines) == 1
    assert 'epoch_3.pth' in lines[0] and 'epoch_2.amtmap' in lines[0]
    cut(broken_off / 'epoch_2.pth')
    epoch, lines = resumed(guided, capsys)
    assert epoch == 1 and len(lines) == 2 and 'truncated' in lines[1]


@pytest.mark.parametrize('loss', ['gone', 'other'])
def test_missing_maps_and_maps_of_another_run(guided, broken_off, capsys, loss):
    maps = broken_off / 'saliency'
    if loss == 'gone':
        (maps / 'epoch_2.amtmap').unlink()
    else:
        shutil.copy(maps / 'epoch_1.amtmap', maps / 'epoch_2.amtmap')
    epoch, lines = resumed(guided, capsys)
    assert epoch == 2
    assert ('are missing' if loss == 'gone' else 'holds other maps') in lines[0]


def test_an_older_checkpoint_uses_its_own_maps(guided, broken_off):
    runner = guided(load_from=str(broken_off / 'epoch_2.pth'), resume=True)
    runner.load_or_resume()
    runner.train_loop.run()
    first, = (step['map_step'] for step in runner.recorder.steps if step['iter'] == 6)
    assert first == 2  # refreshed before epoch 3, after loading the maps of epoch_2


def test_a_resumed_run_equals_an_uninterrupted_one(guided, broken_off):
    end = torch.load(broken_off / 'epoch_3.pth', weights_only=False)['state_dict']
    cut(broken_off / 'epoch_3.pth')
    guided(resume=True).train()
    again = torch.load(broken_off / 'epoch_3.pth', weights_only=False)['state_dict']
    assert all(torch.equal(again[key], value) for key, value in end.items())


def test_without_an_intact_checkpoint_nothing_is_overwritten(guided, broken_off):
    for path in broken_off.glob('*.pth'):
        cut(path)
    before = {path: path.stat().st_mtime_ns for path in broken_off.glob('*.pth')}
    with pytest.raises(InputError, match='none of the 3 checkpoints there is intact'):
        guided(resume=True).train()
    assert before == {path: path.stat().st_mtime_ns for path in broken_off.glob('*.pth')}
    for path in before:
        path.unlink()
    with pytest.raises(InputError, match=r'last_checkpoint names .*epoch_3\.pth.*which is missing'):
        newest_whole(broken_off, print)


@pytest.mark.parametrize('resume', [True, False])
def test_a_named_one_that_is_damaged_is_refused(guided, broken_off, resume):
    cut(broken_off / 'epoch_3.pth')
    with pytest.raises(InputError, match=r'epoch_3\.pth: the checkpoint is damaged or trunc'):
        guided('other', load_from=str(broken_off / 'epoch_3.pth'), resume=resume).train()


def test_without_checkpoints_the_run_starts_from_scratch_with_a_warning(guided, capsys):
    runner = guided('fresh', resume=True)
    runner.load_or_resume()
    assert runner.epoch == 0 and 'training starts from the beginning' in capsys.readouterr().err


def test_what_is_no_record_of_maps_is_refused(tmp_path):
    deep = []
    for _ in range(200):
        deep = [deep]
    record = dict(file=deep, step=1, fingerprint='a', crc32=1)
    for value in (torch.ones(3), record, {**record, 'file': '../epoch_1.amtmap'}):
        torch.save({'state_dict': {}, 'amt_saliency': value}, tmp_path / 'a.pth')
        with pytest.raises(InputError, match=r'a\.pth: amt_saliency is not what this toolbox'):
            maps_named(tmp_path / 'a.pth')
