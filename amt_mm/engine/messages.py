"""One line to the person at the terminal, whatever process it comes from."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.registry import build_functions

from ..errors import REQUEUE_STATUS, InputError


def say(kind: str, text: str) -> None:
    """Print ``kind: text`` to the error stream; processes of a group but the first add their rank.

    Args:
        kind: Such as ``'error'``.
        text: One line.
    """
    rank = os.environ.get('RANK', '0')
    print(kind if rank == '0' else f'{kind} (rank {rank})', text, sep=': ', file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning, once however many processes there are."""
    if os.environ.get('RANK', '0') == '0':
        say('warning', text)


def lost_connection(error: BaseException) -> bool:
    """Whether gloo says that another process does not answer; a group of NCCL ends otherwise."""
    return isinstance(error, RuntimeError) and re.search(
        r'Connection (closed|reset) by peer|Timed out waiting|pair closure|failed to recv',
        str(error)) is not None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an :class:`InputError` as one line and exit with status 2.

    So does a setting that a class of the config does not have; so does, with status 1, a
    connection that another process has closed by ending: that one says why; and, with the
    status to be resumed, one that does not answer. Everything else is a fault of the program
    and keeps its traceback.
    """
    try:
        yield
    except InputError as error:
        # From a worker of a data loader the message arrives with the worker's traceback in front.
        line = re.sub(r'^amt_mm\.errors\.\w+: ', '', str(error).strip().splitlines()[-1])
        say('error', line)
        sys.exit(2)
    except TypeError as error:
        # Raised by the very call in which a registry hands a config's settings to its class.
        if traceback.extract_tb(error.__traceback__)[-1].filename != build_functions.__file__:
            raise
        say('error', f'config: {error}')
        sys.exit(2)
    except RuntimeError as error:
        if not lost_connection(error):
            raise
        say('error', 'another process of this run has ended or cannot be reached, see its own '
                     f'message ({str(error).splitlines()[0]})')
        sys.exit(REQUEUE_STATUS if 'Timed out' in str(error) else 1)
