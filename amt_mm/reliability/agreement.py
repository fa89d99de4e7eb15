"""Check that the processes of a run agree on config, data and weights."""

from __future__ import annotations

import hashlib
import socket
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, is_main_process
from torch import Tensor

from amt_mm.distributed import from_rank0
from amt_mm.errors import InputError

# A data set may have another path on each machine; its fingerprint is compared instead.
_LOCAL = ('data_root',)
# Number of values compared of each entry of the weights.
_PROBE = 1024
_MAX_KEYS = 3
# Seconds to wait for a new file, which a network file system may show late.
_LOOKS = 5


def check_agreement(items: Mapping[str, Any]) -> None:
    """Compare items between all processes, which must all call this and stop together.

    Args:
        items: Name -> value, in the order of the check. Values are compared by their text.

    Raises:
        InputError: Names the first item that differs, the processes and both values.
    """
    every = all_gather_object({name: str(value) for name, value in items.items()})
    for name in every[0]:
        _refuse(name, [of.get(name) for of in every])


def check_configs(cfg: Mapping) -> None:
    """Compare configs between all processes, setting by setting.

    Paths of data sets (``data_root``) may differ. All processes must call this.

    Raises:
        InputError: Names the first settings that differ, the processes and both values.
    """
    settings = _flat(cfg)
    digest = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()
    if len(set(all_gather_object(digest))) == 1:
        return
    every = all_gather_object(settings)
    names = [name for name in sorted(set().union(*every))
             if len({of.get(name) for of in every}) > 1]
    more = f' (and {len(names) - _MAX_KEYS} more: {", ".join(names[_MAX_KEYS:][:_MAX_KEYS])})' \
        if len(names) > _MAX_KEYS else ''
    also = f' and {", ".join(names[1:_MAX_KEYS])}{more}' if len(names) > 1 else ''
    _refuse(f'the config\'s {names[0]}{also}', [of.get(names[0], 'nothing') for of in every])


def check_shared(folder: Path) -> None:
    """Check that all processes see the same folder; all must call it.

    Checkpoints and maps are written by the first process and read by all.

    Raises:
        InputError: Names a process that does not see the file that the first one has written.
    """
    def leave_mark() -> tuple[Path, str]:
        with NamedTemporaryFile(dir=folder, prefix='.shared-', delete=False) as file:
            return Path(file.name), socket.gethostname()

    def look() -> str | None:
        for _ in range(_LOOKS):
            if (folder / mark.name).exists():
                return None
            time.sleep(1)
        return f'rank {get_rank()} on {socket.gethostname()}'

    mark, host = from_rank0(leave_mark)
    blind = [who for who in all_gather_object(look()) if who is not None]
    if is_main_process():
        mark.unlink()
    if blind:
        raise InputError(
            f'work_dir {mark.parent} is not the same folder for all processes: {blind[0]} does not '
            f'see what rank 0 on {host} writes there; put it on a disk that all machines share '
            '(such as NFS), under the same path')


def weights_checksum(state: Mapping[str, Tensor]) -> str:
    """Checksum of names, shapes and the first values of each entry, eight hexadecimal digits."""
    checksum = 0
    for name in sorted(state):
        value = state[name]
        # Each process holds another part of a sharded tensor.
        if isinstance(value, Tensor) and not hasattr(value, 'to_local'):
            probe = value.detach().flatten()[:_PROBE].cpu().contiguous().view(torch.uint8)
            text = f'{name} {tuple(value.shape)} {value.dtype}'.encode()
            checksum = zlib.crc32(probe.numpy().tobytes(), zlib.crc32(text, checksum))
    return f'{checksum:08x}'


def _refuse(name: str, values: list[str | None]) -> None:
    others = [rank for rank, value in enumerate(values) if value != values[0]]
    if others:
        value = values[others[0]]
        ranks = [str(rank) for rank in others if values[rank] == value]
        raise InputError(
            f'the processes disagree on {name}: rank 0 has {values[0]}, rank '
            f'{", ".join(ranks)} has {value}; start all from the same config, data and files')


def _flat(node: object, key: str = '') -> dict[str, str]:
    """Settings by dotted names, as text; objects by their class only."""
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        plain = node is None or isinstance(node, (bool, int, float, str))
        return {key: repr(node) if plain else type(node).__name__}
    found: dict[str, str] = {}
    for name, child in children:
        if name not in _LOCAL:
            found.update(_flat(child, f'{key}.{name}' if key else str(name)))
    # An empty collection is a setting too.
    return found if node else {key: repr(node)}
