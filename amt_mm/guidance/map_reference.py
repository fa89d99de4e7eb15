"""What a checkpoint says of the maps it was trained with, and how all processes open them."""

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
    """Where a run keeps its maps."""
    return Path(runner.work_dir) / 'saliency'


def refer_to(store: SaliencyStore) -> dict:
    """What a checkpoint keeps of a map file: enough to know the very same one again."""
    return {'file': store.path.name, 'step': store.step, 'fingerprint': store.fingerprint,
            'crc32': store.crc32}


def reference_in(checkpoint: Mapping, key: str) -> dict | None:
    """What a checkpoint says of its maps under ``key``; None where it names none.

    Raises:
        InputError: It is not what :func:`refer_to` gives, such as a path to elsewhere.
    """
    record = checkpoint.get(key)
    return check_map_record(record, f'{key} of the checkpoint') if record else None


def open_maps(path: Path, fingerprint: str, verify: bool) -> SaliencyStore:
    """Open one map file in all processes.

    All processes must call it, and all stop where one of them fails.

    Args:
        path: The file.
        fingerprint: Identity of this run's data set.
        verify: Whether to compare the maps with their checksums, each of the processes
            that see the same file a part. On resume; a file that this run has just
            written needs none.

    Raises:
        InputError: The file is gone, damaged or of another data set in some process, or
            another file for some.
    """
    share = _share(path) if verify else None
    store = run_on_all_ranks(lambda: SaliencyStore(path, fingerprint, share))
    if len(set(all_gather_object(store.crc32))) > 1:
        raise InputError(f'{path}: processes see different files of this name; all must see the '
                         'same work_dir, and only one run may write to it')
    return store


def take_up_maps(runner: Runner, reference: dict, fingerprint: str) -> SaliencyStore:
    """The maps that the checkpoint was trained with, verified, in this run's own folder.

    They lie there already, or beside the checkpoint that was named: then they
    are copied, so that the checkpoints of this run find them too. All processes
    must call it.

    Args:
        runner: A runner that has loaded its checkpoint.
        reference: What :func:`refer_to` gave when that was saved.
        fingerprint: Identity of this run's data set.

    Raises:
        InputError: The file is gone, damaged, of another data set or of another run, or it
            cannot be copied.
    """
    own = maps_folder(runner) / reference['file']
    found = run_on_all_ranks(lambda: _find(runner, own, reference['crc32'], fingerprint))
    # Outside the condition: all processes must call it.
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
    raise InputError(f'{found[0]}: these are not the saliency maps that the checkpoint was '
                     'trained with; another run has written to this folder')


def _copy(found: Path, own: Path) -> None:
    temporary = own.with_name(own.name + '.tmp')
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, temporary)
        replace_durably(temporary, own)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f'{own}: the saliency maps cannot be copied there from {found.parent} '
                         f'({error.strerror})') from error


def _share(path: Path) -> tuple[int, int]:
    """Which part of a file this process verifies, of how many.

    Processes of one node that see the same file divide it, so that each node reads, once,
    what its own memory will serve from then on.
    """
    try:
        status = path.stat()
        seen = (socket.gethostname(), status.st_dev, status.st_ino)
    except OSError:
        seen = None  # opening it says why
    all_seen = all_gather_object(seen)
    return all_seen[:get_rank()].count(seen), all_seen.count(seen)
