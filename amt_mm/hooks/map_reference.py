"""What a checkpoint says of the maps it was trained with, and how a resumed run finds them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore


def maps_folder(runner: Runner) -> Path:
    """Where a run keeps its maps."""
    return Path(runner.work_dir) / 'saliency'


def refer_to(store: SaliencyStore) -> dict:
    """What a checkpoint keeps of a map file: enough to know the very same one again."""
    return {'file': store.path.name, 'step': store.step, 'fingerprint': store.fingerprint,
            'crc32': store.crc32}


def take_up_maps(runner: Runner, reference: dict, fingerprint: str) -> Path:
    """The maps that the checkpoint was trained with, in this run's own folder.

    They lie there already, or beside the checkpoint that was named: then they
    are copied, so that the checkpoints of this run find them too. All processes
    must call it.

    Args:
        runner: A runner that has loaded its checkpoint.
        reference: What :func:`refer_to` gave when that was saved.
        fingerprint: Identity of this run's data set.

    Raises:
        InputError: The file is gone, damaged, of another data set or of another run.
    """
    name, crc32 = reference['file'], reference['crc32']
    own = maps_folder(runner) / name
    places = [own]
    if isinstance(runner._load_from, (str, os.PathLike)):
        places.append(Path(runner._load_from).parent / 'saliency' / name)
    found = [place for place in places if place.is_file()]
    if not found:
        raise InputError(f'the checkpoint was trained with the saliency maps {name}, which are '
                         f'not in {" or ".join(str(p.parent) for p in places)}: copy the file '
                         'there')
    right = [place for place in found if SaliencyStore(place, fingerprint).crc32 == crc32]
    if not right:
        raise InputError(f'{found[0]}: these are not the saliency maps that the checkpoint was '
                         'trained with; another run has written to this folder')
    if right[0] != own and is_main_process():
        own.parent.mkdir(parents=True, exist_ok=True)
        temporary = own.with_name(own.name + '.tmp')
        shutil.copyfile(right[0], temporary)
        os.replace(temporary, own)
    # Outside the condition: a late rank may find the copy already there.
    barrier()
    return own
