"""How a checkpoint refers to its maps, and how all processes open them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.runner import Runner

from amt_mm.checkpoints.records import check_map_record
from amt_mm.distributed import run_on_all_ranks
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore
from amt_mm.saliency.map_file import replace_durably


def maps_folder(runner: Runner) -> Path:
    """Return the folder of a run's maps."""
    return Path(runner.work_dir) / 'saliency'


def map_record(store: SaliencyStore) -> dict:
    """Return what a checkpoint saves to identify its map file."""
    return {'file': store.path.name, 'step': store.step, 'fingerprint': store.fingerprint,
            'crc32': store.crc32}


def read_map_record(checkpoint: Mapping, key: str) -> dict | None:
    """Return the :func:`map_record` of a checkpoint; None if it has none.

    Raises:
        InputError: It is not such a record, for example because it leads to another folder.
    """
    record = checkpoint.get(key)
    return check_map_record(record, f'{key} of the checkpoint') if record else None


def open_maps(path: Path, fingerprint: str, verify: bool) -> SaliencyStore:
    """Open one map file in all processes; if one fails, all stop.

    Args:
        path: The file.
        fingerprint: Identity of this run's data set.
        verify: Compare the maps with their checksums, shared by the processes that see the same
            file. For resuming; a file just written by this run needs no check.

    Raises:
        InputError: In some process the file is missing, damaged, of another data set, or differs
            from that of the others.
    """
    share = _share(path) if verify else None
    store = run_on_all_ranks(lambda: SaliencyStore(path, fingerprint, share))
    if len(set(all_gather_object(store.crc32))) > 1:
        raise InputError(f'{path}: processes see different files of this name; all must see the '
                         'same work_dir, and only one run may write to it')
    return store


def restore_maps(runner: Runner, reference: dict, fingerprint: str) -> SaliencyStore:
    """Open and verify the maps of the loaded checkpoint, in all processes.

    Maps that are only next to the checkpoint are copied to this run's folder, where its own
    checkpoints will look for them.

    Args:
        runner: A runner that has loaded its checkpoint.
        reference: The checkpoint's :func:`map_record`.
        fingerprint: Identity of this run's data set.

    Raises:
        InputError: The file is missing, damaged, of another data set or run, or cannot be copied.
    """
    own = maps_folder(runner) / reference['file']
    found = run_on_all_ranks(lambda: _find(runner, own, reference['crc32'], fingerprint))
    # The condition is inside, because all processes must take part.
    run_on_all_ranks(lambda: _copy(found, own) if found != own and is_main_process() else None)
    return open_maps(own, fingerprint, verify=True)


def _find(runner: Runner, own: Path, crc32: int, fingerprint: str) -> Path:
    places = [own]
    if isinstance(runner._load_from, (str, os.PathLike)):
        places.append(Path(runner._load_from).parent / 'saliency' / own.name)
    found = [place for place in places if place.is_file()]
    if not found:
        raise InputError(f'the checkpoint was trained with the saliency maps {own.name}, which are '
                         f'not in {" or ".join(str(p.parent) for p in places)}: copy the file '
                         'there')
    for place in found:
        if SaliencyStore(place, fingerprint, share=None).crc32 == crc32:
            return place
    raise InputError(f'{found[0]}: these are not the saliency maps of the checkpoint; '
                     'another run has written to this folder')


def _copy(found: Path, own: Path) -> None:
    temporary = own.with_name(own.name + '.tmp')
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # a link, perhaps, which is not to be followed
        shutil.copyfile(found, temporary)
        replace_durably(temporary, own)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f'{own}: the saliency maps cannot be copied there from {found.parent} '
                         f'({error.strerror})') from error


def _share(path: Path) -> tuple[int, int]:
    """Return which part of a file this process verifies, and of how many.

    The processes of a node that see the same file share it, so that each node reads it once, into
    its own page cache.
    """
    try:
        status = path.stat()
        seen = (socket.gethostname(), status.st_dev, status.st_ino)
    except OSError:
        seen = None  # opening the file raises the error
    all_seen = all_gather_object(seen)
    return all_seen[:get_rank()].count(seen), all_seen.count(seen)
