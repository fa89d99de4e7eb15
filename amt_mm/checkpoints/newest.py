"""Find the newest intact checkpoint of a run, with its saliency maps."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from amt_mm.checkpoints import NeedsTrust
from amt_mm.checkpoints.records import MAP_KEYS, check_map_record, is_step
from amt_mm.checkpoints.seal import check_seal, damaged
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore

from .safe_loading import load_as_data

# MS-DOS attribute of a folder in a zip archive.
_FOLDER = 0x10
# Bytes read of `last_checkpoint`.
_MAX_NOTE = 4096
# Start of files from before torch 1.6, which have no archive and no checksums.
_BARE_PICKLE = b'\x80\x02'


def checkpoints(work_dir: str | Path, folder: str | Path | None = None) -> list[Path]:
    """List the checkpoints that a run can resume from, the newest first.

    Newest is the one written last, so that a run resumed from an older checkpoint continues its
    own branch. If modification times contradict ``last_checkpoint``, as after copying, that file
    decides: only a later step written later precedes the checkpoint it names. Only its file name
    counts, so a copied folder uses its own files. Best (``best_*``) and published checkpoints
    lack the optimiser and are skipped.

    Args:
        work_dir: Folder of the run; it need not exist.
        folder: Folder of its checkpoints (CheckpointHook's ``out_dir``). Defaults to ``work_dir``.
    """
    found = [path for path in Path(folder or work_dir).glob('*.pth')
             if _step(path) is not None and path.is_file()]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, _step(path)), reverse=True)
    name = Path(_note(work_dir)).name
    current = next((path for path in found if path.name == name), None)
    if current is None:
        return found
    later = [path for path in found[:found.index(current)] if _is_later(path, current)]
    return [*later, current, *(path for path in found if path not in (*later, current))]


def has_begun(work_dir: str | Path) -> bool:
    """Whether a run in this folder has saved a checkpoint."""
    return Path(work_dir, 'last_checkpoint').is_file() or bool(checkpoints(work_dir))


def newest_whole(work_dir: str | Path, warn: Callable[[str], None],
                 folder: str | Path | None = None) -> Path | None:
    """Find the newest checkpoint that can be resumed from.

    Each candidate is read once to compare its checksums and those of its maps.

    Args:
        work_dir: Folder of the run.
        warn: Called with one line for each checkpoint that is skipped.
        folder: See :func:`checkpoints`.

    Returns:
        The file; None if there are no checkpoints at all.

    Raises:
        InputError: There are or were checkpoints, but none is intact: a run must not silently
            start from scratch.
    """
    folder = Path(folder or work_dir)
    candidates, note = checkpoints(work_dir, folder), _note(work_dir)
    if note:
        _compare_note(Path(work_dir, 'last_checkpoint'), note, folder, candidates, warn)
    for path in candidates:
        try:
            check_checkpoint(path, Path(work_dir))
        except InputError as error:
            warn(f'{error}; skipped, the next older one is tried')
        else:
            return path
    if candidates:
        raise InputError(f'{folder}: none of the {len(candidates)} checkpoints there is intact, '
                         'see the warnings; restore one from a copy and pass it to --resume, or '
                         'delete them to start from scratch')
    return None


def check_checkpoint(path: str | Path, work_dir: Path | None = None) -> None:
    """Read a checkpoint once and compare all its checksums, and those of its maps.

    Args:
        path: A file of torch. Without a digest only its zip archive is checked; a file from
            before torch 1.6 passes.
        work_dir: Folder that may hold its maps, besides its own. Defaults to None: torch does not
            open the file and maps are not checked; for a file that is loaded next.

    Raises:
        InputError: The file or a map is truncated or damaged.
    """
    path = Path(path)
    try:
        if not check_seal(path):
            with open(path, 'rb') as file:
                bare = file.read(2) == _BARE_PICKLE
            if not bare:
                _check_archive(path)
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    if work_dir is not None:
        for reference in maps_named(path):
            _check_maps(path, reference, (work_dir, path.parent))


def _check_archive(path: Path) -> None:
    """Check the zip archive of a file without a digest."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            members = archive.infolist()
    # Damaged headers may also ask for passwords, unknown methods or huge offsets.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError,
            ValueError, NotImplementedError, OverflowError, MemoryError) as error:
        raise damaged(path, str(error) or type(error).__name__) from error
    if broken is not None:
        raise damaged(path, f'the checksum of {broken} differs')
    if not any(member.filename.endswith('/data.pkl') for member in members):
        raise damaged(path, 'it is an archive of something else')
    for member in members:
        # Torch reads no values of such a member.
        if member.external_attr & _FOLDER or member.is_dir():
            raise damaged(path, f'{member.filename} is marked as a folder')


def maps_named(path: Path) -> list[dict]:
    """Read which map files a checkpoint was trained with.

    Raises:
        InputError: Torch cannot read it.
    """
    try:
        content = load_as_data(path, 'cpu', mmap=True)
    except NeedsTrust:
        # It is intact; whoever loads it must ask for trust.
        return []
    return [check_map_record(record, f'{path}: {key}') for key in MAP_KEYS
            if (record := section(content).get(key)) is not None]


def _check_maps(path: Path, reference: dict, folders: Iterable[Path]) -> None:
    places = [folder / 'saliency' / reference['file'] for folder in folders]
    found = [place for place in places if place.is_file()]
    if not found:
        raise InputError(f'{path}: its saliency maps {places[0]} are missing')
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
    """Content of ``last_checkpoint``; '' if it is missing or empty."""
    try:
        with open(Path(work_dir, 'last_checkpoint'), 'rb') as file:
            return file.read(_MAX_NOTE).decode(errors='replace').replace('\0', '').strip()
    except OSError:
        return ''


def _compare_note(file: Path, note: str, folder: Path, candidates: list[Path],
                  warn: Callable[[str], None]) -> None:
    """Warn if ``last_checkpoint`` names a missing file or one in another folder."""
    name, shown = Path(note).name, repr(note if len(note) < 100 else f'{note[:100]}...')
    # MMEngine writes a path.
    if note != name and Path(note).parent.resolve() != folder.resolve():
        warn(f'{file} names {shown}, which is not in {folder}: only files there are used')
    if any(path.name == name for path in candidates):
        return
    if not candidates:
        raise InputError(f'{file} names {shown}, which is missing, and {folder} has no other '
                         'checkpoint: restore one and pass it to --resume, or delete '
                         f'{file} to start from scratch')
    warn(f'{file} names {shown}, which is missing')


def _step(path: Path) -> int | None:
    """Epoch or iteration in a file name; None for best and published checkpoints."""
    found = re.fullmatch(r'(?!best_)(.*?)(\d+)', path.stem)
    return int(found[2]) if found and not re.search(r'-[0-9a-f]{8}$', path.stem) else None


def _is_later(path: Path, current: Path) -> bool:
    """Whether a checkpoint is of a later step; epochs and iterations compare by their content."""
    if _kind(path) == _kind(current):
        return _step(path) > _step(current)
    steps = [_iterations(each) for each in (path, current)]
    return None not in steps and steps[0] > steps[1]


def _kind(path: Path) -> str:
    return re.sub(r'\d+$', '', path.stem)


def _iterations(path: Path) -> int | None:
    try:
        done = section(section(load_as_data(path, 'cpu', mmap=True)).get('meta')).get('iter')
    except InputError:
        return None
    return done if is_step(done) else None
