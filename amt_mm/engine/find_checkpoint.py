"""The newest checkpoint that is whole, with its maps."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from amt_mm.checkpoints import NeedsTrust
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore

from .safe_loading import load_as_data

# Keys under which hooks keep what `refer_to` says of a map file.
MAP_KEYS = ('amt_saliency', 'amt_token_losses')
# The start of files that torch wrote before version 1.6: no archive, and no checksums.
_BARE_PICKLE = b'\x80\x02'


def checkpoints(work_dir: str | Path) -> list[Path]:
    """What a run may go on from, the newest first.

    Those of the work folder, and of the folder that ``last_checkpoint`` points into
    (CheckpointHook's ``out_dir``). Newest is what was written last, so that a run resumed
    from an older checkpoint goes on with its own. ``last_checkpoint`` decides where times
    do not agree with it, as after copying; only a later step, written later, goes before.
    The best ones (``best_*``) and published ones lack the optimiser and are left out.

    Args:
        work_dir: Folder of the run. It need not exist.

    Returns:
        Paths; empty if there is none.
    """
    work_dir = Path(work_dir)
    named = _named(work_dir)
    folders = {work_dir.resolve(): work_dir}
    if named is not None:
        folders.setdefault(named.parent.resolve(), named.parent)
    found = [path for folder in folders.values() for path in folder.glob('*.pth')
             if _step(path) is not None and path.is_file()]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, _step(path)), reverse=True)
    current = next((path for path in found if named and path.samefile(named)), None)
    if current is None:
        return found
    later = [path for path in found[:found.index(current)]
             if _kind(path) != _kind(current) or _step(path) > _step(current)]
    return [*later, current, *(path for path in found if path not in (*later, current))]


def has_begun(work_dir: str | Path) -> bool:
    """Whether a run in this folder has come to its first checkpoint."""
    return Path(work_dir, 'last_checkpoint').is_file() or bool(checkpoints(work_dir))


def newest_whole(work_dir: str | Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that can be resumed from.

    Each is read once, its checksums compared, and so are the maps that it names.

    Args:
        work_dir: Folder of the run.
        warn: Told in one line of each that is passed over, and why.

    Returns:
        The file; None where there are no checkpoints at all.

    Raises:
        InputError: There are or were, but none is whole: the run must not start anew
            unasked.
    """
    candidates, note = checkpoints(work_dir), Path(work_dir, 'last_checkpoint')
    if note.is_file() and _named(Path(work_dir)) is None:
        gone = f'{note} names {note.read_bytes()[:200].decode(errors="replace")!r}, which is gone'
        if not candidates:
            raise InputError(f'{gone}, and there is no other checkpoint: bring one back and name '
                             f'it with --resume FILE, or delete {note} to start anew')
        warn(gone)
    for path in candidates:
        try:
            check_checkpoint(path, Path(work_dir))
        except InputError as error:
            warn(f'{error}; passed over, the next older one is tried')
        else:
            return path
    if candidates:
        raise InputError(f'{work_dir}: none of the {len(candidates)} checkpoints there is whole, '
                         'see the warnings; bring one back from a copy and name it with --resume '
                         'FILE, or delete them to start anew')
    return None


def check_checkpoint(path: str | Path, work_dir: Path | None = None) -> None:
    """Read a checkpoint once and compare all checksums; and the maps that it names.

    Args:
        path: A file of torch. One from before torch 1.6 has no checksums and passes.
        work_dir: Where its maps may lie, besides beside it. Defaults to None: neither is
            it opened by torch, nor are maps looked at; for a file that will be loaded.

    Raises:
        InputError: Cut short or damaged, or its maps are.
    """
    path = Path(path)
    try:
        with open(path, 'rb') as file:
            start = file.read(4)
        if start.startswith(_BARE_PICKLE):
            return
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            members = archive.namelist()
    # Besides BadZipFile, damaged headers ask for passwords, unknown methods or huge offsets.
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError,
            ValueError, NotImplementedError, OverflowError, MemoryError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    if broken is not None:
        raise _damaged(path, f'the checksum of {broken} differs')
    if not any(name.endswith('/data.pkl') for name in members):
        raise _damaged(path, 'it is an archive of something else')
    if work_dir is not None:
        for reference in maps_named(path):
            _check_maps(path, reference, (work_dir, path.parent))


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
    return [content[key] for key in MAP_KEYS if isinstance(content.get(key), dict)]


def _check_maps(path: Path, reference: dict, folders: Iterable[Path]) -> None:
    places = [folder / 'saliency' / str(reference.get('file')) for folder in folders]
    found = [place for place in places if place.is_file()]
    if not found:
        raise InputError(f'{path}: its saliency maps {places[0]} are gone')
    reasons = []
    for place in found:
        try:
            if SaliencyStore(place).crc32 == reference.get('crc32'):
                return
            reasons.append(f'{place} holds other maps than it was trained with')
        except InputError as error:
            reasons.append(str(error))
    raise InputError(f'{path}: {reasons[0]}')


def _named(work_dir: Path) -> Path | None:
    """The file that ``last_checkpoint`` names: there, or here if the folder was moved."""
    try:
        name = (work_dir / 'last_checkpoint').read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    places = (Path(name), work_dir / Path(name).name) if name else ()
    return next((place for place in places if place.is_file()), None)


def _step(path: Path) -> int | None:
    """Number of the epoch or iteration in a name; None for the best and the published."""
    found = re.fullmatch(r'(?!best_)(.*?)(\d+)', path.stem)
    return int(found[2]) if found and not re.search(r'-[0-9a-f]{8}$', path.stem) else None


def _kind(path: Path) -> str:
    return re.sub(r'\d+$', '', path.stem)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: the checkpoint is damaged or cut short '
                      f'({path.stat().st_size if path.is_file() else 0} bytes; '
                      f'{" ".join(reason.split())[:120]})')
