"""Read plain pickles of numpy arrays, such as detectron2's model zoo has, without running code."""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from amt_mm.errors import InputError

from .safe_loading import NUMPY

# All that arrays and numbers need, in protocol 2 also for their bytes (`bytes` if there are none).
_ALLOWED = {('collections', 'OrderedDict'): OrderedDict, ('_codecs', 'encode'): codecs.encode,
            ('__builtin__', 'bytes'): bytes,
            **{tuple(name.rsplit('.', 1)): thing for thing, name in NUMPY}}


class _Data(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what arrays need; refuse everything else."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f'it names {module}.{name}, and code from a file is not '
                                         'run')
        return _ALLOWED[module, name]


def read_numpy_pickle(path: Path) -> object:
    """Read a pickle of containers, numbers, text and numpy arrays.

    Args:
        path: Of the file.

    Raises:
        InputError: It is not a pickle, is truncated, or names anything else.
    """
    try:
        with open(path, 'rb') as file:
            # Strings of Python 2.
            return _Data(file, encoding='latin1').load()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error
    # A damaged pickle raises nearly anything.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f'{path}: not a pickle of arrays, or truncated ({reason[:120]})'
                         ) from error
