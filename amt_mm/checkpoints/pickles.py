"""What ``torch.save`` wrote, read as data: no code that a file names is run, unless asked for."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from amt_mm.errors import InputError
from amt_mm.names import TRUST

from .seal import check_seal

# Bookkeeping that lies beside the weights in checkpoints of MMEngine (curves), MAE (arguments) and
# SimMIM (config). Torch reads weights alone; these are let through as objects that do nothing.
BOOKKEEPING = (
    'argparse.Namespace', 'builtins.getattr', 'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy._core.multiarray._reconstruct', 'numpy._core.multiarray.scalar',
    'numpy.core.multiarray._reconstruct', 'numpy.core.multiarray.scalar', 'numpy.dtype',
    'numpy.ndarray', 'pathlib.PosixPath',
)
MAPPINGS = ('yacs.config.CfgNode',)


class NeedsTrust(InputError):
    """A whole file that names classes or functions beyond weights and bookkeeping."""


class _Inert:
    """Stands in for an object of the file's bookkeeping: takes everything, does nothing."""

    def __new__(cls, *args) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *args) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Forget it."""


class _InertMapping:
    """Stands in for a kind of dict: a plain one, as torch fills no other."""

    def __new__(cls, *args) -> OrderedDict:
        return OrderedDict()


def trust_checkpoints() -> None:
    """From now on let files that need more than weights run their code, here and in children."""
    os.environ[TRUST] = '1'


def checkpoints_are_trusted() -> bool:
    """Whether :func:`trust_checkpoints` was called, here or in a parent process.

    Raises:
        InputError: The environment says neither yes (1) nor no (0 or nothing).
    """
    value = os.environ.get(TRUST, '')
    if value not in ('', '0', '1'):
        raise InputError(f'{TRUST}={value}: write 1 to run code from checkpoints, or unset it')
    return value == '1'


def read_pickle(file: Path | io.BytesIO, name: str | os.PathLike,
                more: Sequence[tuple[Callable, str]] = (),
                map_location: str | Callable | None = 'cpu', mmap: bool = False) -> object:
    """Read what ``torch.save`` wrote, with torch's ``weights_only``.

    Args:
        file: The file, or its bytes.
        name: Of the file, for messages.
        more: What stands for a class or function beyond torch's own, with its name in the
            file. The usual bookkeeping that is not among these is read as objects that do
            nothing.
        map_location: See :func:`torch.load`. Defaults to the CPU.
        mmap: Leave values of tensors on the disk until they are looked at.

    Raises:
        InputError: It is damaged, cut short or no such file.
        NeedsTrust: It needs further classes, which are named, and nobody said that it may
            be trusted.
    """
    if isinstance(file, Path) and file.is_file():
        check_seal(file)
    known = {path for _, path in more}
    allowed = [*more, *((_Inert, path) for path in BOOKKEEPING if path not in known),
               *((_InertMapping, path) for path in MAPPINGS)]
    try:
        # Torch's list is of the whole process; what is on it besides stays.
        with torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (\S+)', str(error)) or re.search(
            r'unrecognized function (.+)|but got (.+)', str(error))
        if found is None:
            raise _unreadable(file, name, error) from error
        if not checkpoints_are_trusted():
            needed = next(filter(None, found.groups())).rstrip('.')
            raise NeedsTrust(
                f'{name}: needs `{needed}` to be read, and code from a file is not run; load it '
                'where you trust it and save model.state_dict() alone, or give --trust-checkpoint '
                f'({TRUST}=1 where a tool has no such flag)') from error
    # Torch has no class of its own for a file that is cut short or of another kind.
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError
            ) as error:
        raise _unreadable(file, name, error) from error
    if isinstance(file, io.BytesIO):
        file.seek(0)
    return torch.load(file, map_location=map_location, weights_only=False)


def _unreadable(file: Path | io.BytesIO, name: str | os.PathLike, error: Exception) -> InputError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, pickle.UnpicklingError):
        # Torch explains a setting of its own here.
        reason = 'no pickle of weights'
    size = len(file.getvalue()) if isinstance(file, io.BytesIO) else file.stat().st_size
    return InputError(f'{name}: not a checkpoint, or cut short in copying '
                      f'({size} bytes; {reason[:120]})')
