"""The newest checkpoint that is whole, with its maps."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from amt_mm.checkpoints import NeedsTrust
from amt_mm.checkpoints.records import MAP_KEYS, check_map_record
from amt_mm.checkpoints.seal import check_seal, damaged
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore

from .safe_loading import load_as_data

# MS-DOS's attribute of a folder, in an archive's directory.
_FOLDER = 0x10
# The longest name that is looked at in `last_checkpoint`.
_MAX_NOTE = 4096
# The start of files that torch wrote before version 1.6: no archive, and no checksums.
_BARE_PICKLE = b'\x80\x02'


def checkpoints(work_dir: str | Path, folder: str | Path | None = None) -> list[Path]:
    """What a run may go on from, the newest first.

    Newest is what was written last, so that a run resumed from an older checkpoint goes on
    with its own. ``last_checkpoint`` decides where times do not agree with it, as after
    copying; only a later step, written later, goes before. Of what it says, the file name
    alone counts: a copied folder goes on with its own files. The best ones (``best_*``) and
    published ones lack the optimiser and are left out.

    Args:
        work_dir: Folder of the run. It need not exist.
        folder: Where its checkpoints lie (CheckpointHook's ``out_dir``). Defaults to
            ``work_dir``.

    Returns:
        Paths; empty if there is none.
    """
    found = [path for path in Path(folder or work_dir).glob('*.pth')
             if _step(path) is not None and path.is_file()]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, _step(path)), reverse=True)
    name = Path(_note(work_dir)).name
    current = next((path for path in found if path.name == name), None)
    if current is None:
        return found
    later = [path for path in found[:found.index(current)]
             if _kind(path) != _kind(current) or _step(path) > _step(current)]
    return [*later, current, *(path for path in found if path not in (*later, current))]


def has_begun(work_dir: str | Path) -> bool:
    """Whether a run in this folder has come to its first checkpoint."""
    return Path(work_dir, 'last_checkpoint').is_file() or bool(checkpoints(work_dir))


def newest_whole(work_dir: str | Path, warn: Callable[[str], None],
                 folder: str | Path | None = None) -> Path | None:
    """The newest checkpoint that can be resumed from.

    Each is read once, its checksums compared, and so are the maps that it names.

    Args:
        work_dir: Folder of the run.
        warn: Told in one line of each that is passed over, and why.
        folder: See :func:`checkpoints`.

    Returns:
        The file; None where there are no checkpoints at all.

    Raises:
        InputError: There are or were, but none is whole: the run must not start anew
            unasked.
    """
    folder = Path(folder or work_dir)
    candidates, note = checkpoints(work_dir, folder), _note(work_dir)
    if note:
        _compare_note(Path(work_dir, 'last_checkpoint'), note, folder, candidates, warn)
    for path in candidates:
        try:
            check_checkpoint(path, Path(work_dir))
        except InputError as error:
            warn(f'{error}; passed over, the next older one is tried')
        else:
            return path
    if candidates:
        raise InputError(f'{folder}: none of the {len(candidates)} checkpoints there is whole, '
                         'see the warnings; bring one back from a copy and name it with --resume '
                         'FILE, or delete them to start anew')
    return None


def check_checkpoint(path: str | Path, work_dir: Path | None = None) -> None:
    """Read a checkpoint once and compare all checksums; and the maps that it names.

    Args:
        path: A file of torch. Its digest is compared; one without a digest is checked
            as far as its archive goes, and one from before torch 1.6 passes.
        work_dir: Where its maps may lie, besides beside it. Defaults to None: neither is
            it opened by torch, nor are maps looked at; for a file that will be loaded.

    Raises:
        InputError: Cut short or damaged, or its maps are.
    """
    path = Path(path)
    try:
        if not check_seal(path):
            if _is_bare_pickle(path):
                return
            _check_archive(path)
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    if work_dir is not None:
        for reference in maps_named(path):
            _check_maps(path, reference, (work_dir, path.parent))


def _is_bare_pickle(path: Path) -> bool:
    with open(path, 'rb') as file:
        return file.read(4).startswith(_BARE_PICKLE)


def _check_archive(path: Path) -> None:
    """Check what the archive of a file without a digest says of itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            members = archive.infolist()
    # Besides BadZipFile, damaged headers ask for passwords, unknown methods or huge offsets.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError,
            ValueError, NotImplementedError, OverflowError, MemoryError) as error:
        raise damaged(path, str(error) or type(error).__name__) from error
    if broken is not None:
        raise damaged(path, f'the checksum of {broken} differs')
    if not any(member.filename.endswith('/data.pkl') for member in members):
        raise damaged(path, 'it is an archive of something else')
    for member in members:
        # Torch reads no values of a member that claims to be a folder.
        if member.external_attr & _FOLDER or member.is_dir():
            raise damaged(path, f'{member.filename} is marked as a folder')


def maps_named(path: Path) -> list[dict]:
    """What a checkpoint says of the maps that it was trained with, one entry a file.

    Raises:
        InputError: Torch cannot read it.
    """
    try:
        content = load_as_data(path, 'cpu', mmap=True)
    except NeedsTrust:
        # It is whole; trust is for whoever loads it to ask for.
        return []
    content = content if isinstance(content, dict) else {}
    return [check_map_record(content[key], f'{path}: {key}') for key in MAP_KEYS
            if content.get(key)]


def _check_maps(path: Path, reference: dict, folders: Iterable[Path]) -> None:
    places = [folder / 'saliency' / reference['file'] for folder in folders]
    found = [place for place in places if place.is_file()]
    if not found:
        raise InputError(f'{path}: its saliency maps {places[0]} are gone')
    reasons = []
    for place in found:
        try:
            if SaliencyStore(place).crc32 == reference['crc32']:
                return
            reasons.append(f'{place} holds other maps than it was trained with')
        except InputError as error:
            reasons.append(str(error))
    raise InputError(f'{path}: {reasons[0]}')


def _note(work_dir: str | Path) -> str:
    """What ``last_checkpoint`` says; '' where it is not there or says nothing."""
    try:
        with open(Path(work_dir, 'last_checkpoint'), 'rb') as file:
            return file.read(_MAX_NOTE).decode(errors='replace').replace('\0', '').strip()
    except OSError:
        return ''


def _compare_note(file: Path, note: str, folder: Path, candidates: list[Path],
                  warn: Callable[[str], None]) -> None:
    """Say so where ``last_checkpoint`` names a file that is not there, or one elsewhere."""
    name, shown = Path(note).name, repr(note if len(note) < 100 else f'{note[:100]}...')
    # MMEngine, and this toolbox before, wrote a path there.
    if note != name and Path(note).parent.resolve() != folder.resolve():
        warn(f'{file} names {shown}, which is not in {folder}: only files there are taken')
    if any(path.name == name for path in candidates):
        return
    if not candidates:
        raise InputError(f'{file} names {shown}, which is gone, and there is no other checkpoint '
                         f'in {folder}: bring one back and name it with --resume FILE, or delete '
                         f'{file} to start anew')
    warn(f'{file} names {shown}, which is gone')


def _step(path: Path) -> int | None:
    """Number of the epoch or iteration in a name; None for the best and the published."""
    found = re.fullmatch(r'(?!best_)(.*?)(\d+)', path.stem)
    return int(found[2]) if found and not re.search(r'-[0-9a-f]{8}$', path.stem) else None


def _kind(path: Path) -> str:
    return re.sub(r'\d+$', '', path.stem)
