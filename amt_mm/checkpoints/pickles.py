"""Read files of ``torch.save`` as data, without running code that they name."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from amt_mm.errors import InputError
from amt_mm.names import TRUST

from .seal import check_seal

# Bookkeeping of MMEngine (curves), MAE (arguments) and SimMIM (config) in checkpoints, which torch
# refuses; read as inert objects.
BOOKKEEPING = (
    'argparse.Namespace', 'builtins.getattr', 'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy._core.multiarray._reconstruct', 'numpy._core.multiarray.scalar',
    'numpy.core.multiarray._reconstruct', 'numpy.core.multiarray.scalar', 'numpy.dtype',
    'numpy.ndarray', 'pathlib.PosixPath',
)
MAPPINGS = ('yacs.config.CfgNode',)


class NeedsTrust(InputError):
    """An intact file that names classes or functions beyond weights and bookkeeping."""


class _Inert:
    """Stand-in for a bookkeeping object: accepts everything, does nothing."""

    def __new__(cls, *args) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *args) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


class _InertMapping:
    """Stand-in for a dict subclass: a plain dict, as torch fills no other."""

    def __new__(cls, *args) -> OrderedDict:
        return OrderedDict()


def trust_checkpoints() -> None:
    """Let checkpoints run code from now on, in this process and its children."""
    os.environ[TRUST] = '1'


def checkpoints_are_trusted() -> bool:
    """Whether :func:`trust_checkpoints` was called, here or in a parent process.

    Raises:
        InputError: The environment variable is neither 1 nor 0 or empty.
    """
    value = os.environ.get(TRUST, '')
    if value not in ('', '0', '1'):
        raise InputError(f'{TRUST}={value}: write 1 to run code from checkpoints, or unset it')
    return value == '1'


def read_pickle(file: Path | io.BytesIO, name: str | os.PathLike,
                more: Sequence[tuple[Callable, str]] = (),
                map_location: str | Callable | None = 'cpu', mmap: bool = False) -> object:
    """Read a file of ``torch.save`` with torch's ``weights_only``.

    Args:
        file: The file, or its bytes.
        name: Its name, for messages.
        more: Further allowed classes and functions, each with its name in the file. Other usual
            bookkeeping is read as inert objects.
        map_location: See :func:`torch.load`. Defaults to the CPU.
        mmap: Leave tensor values on disk until they are used.

    Raises:
        InputError: The file is damaged, truncated or does not exist.
        NeedsTrust: It needs further classes, which are named, and checkpoints are not trusted.
    """
    if isinstance(file, Path) and file.is_file():
        check_seal(file)
    known = {path for _, path in more}
    allowed = [*more, *((_Inert, path) for path in BOOKKEEPING if path not in known),
               *((_InertMapping, path) for path in MAPPINGS)]
    try:
        # Torch's list is global to the process; this restores it.
        with torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (\S+)', str(error)) or re.search(
            r'unrecognized function (.+)|but got (.+)', str(error))
        if found is None:
            raise unreadable(file, name, error) from error
        if not checkpoints_are_trusted():
            needed = next(filter(None, found.groups())).rstrip('.')
            raise NeedsTrust(
                f'{name}: needs `{needed}` to be read, and code from a file is not run; if you '
                'trust it, pass --trust-checkpoint '
                f'({TRUST}=1 for tools without this flag), or save its model.state_dict() alone'
            ) from error
    # Torch has no error class of its own for truncated files and other formats.
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError,
            AssertionError, ArithmeticError, MemoryError, struct.error) as error:
        raise unreadable(file, name, error) from error
    if isinstance(file, io.BytesIO):
        file.seek(0)
    return torch.load(file, map_location=map_location, weights_only=False)


def unreadable(file: Path | io.BytesIO, name: str | os.PathLike, error: Exception) -> InputError:
    """The error for a file that cannot be read as a checkpoint."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, pickle.UnpicklingError):
        # Torch's own text explains its weights_only setting.
        reason = 'not a pickle of weights'
    size = len(file.getvalue()) if isinstance(file, io.BytesIO) else file.stat().st_size
    return InputError(f'{name}: not a checkpoint, or truncated '
                      f'({size} bytes; {reason[:120]})')
