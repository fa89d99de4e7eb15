"""One-line messages on the terminal, from any process."""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import mmengine

from .errors import REQUEUE_STATUS, InputError, RunError
from .printable import one_line, printable

# Message after Ctrl-C of tools that keep finished work.
GOES_ON = 'the same command continues where it stopped'
_STDOUT = 1
_MMENGINE, _OURS = Path(mmengine.__file__).parent, Path(__file__).parent


def say(kind: str, text: str) -> None:
    """Print ``kind: text`` to stderr; all processes of a group but the first add their rank.

    Args:
        kind: Such as ``'error'``.
        text: One line.
    """
    print(_line(kind, text), file=sys.stderr)


def _line(kind: str, text: str) -> str:
    rank = os.environ.get('RANK', '0')
    return f'{kind if rank == "0" else f"{kind} (rank {rank})"}: {one_line(text)}'


def warn(text: str) -> None:
    """Print a warning, in the first process only."""
    if os.environ.get('RANK', '0') == '0':
        say('warning', text)


def lost_connection(error: BaseException) -> bool:
    """Whether gloo reports that another process does not answer; NCCL ends a process itself."""
    return isinstance(error, RuntimeError) and re.search(
        r'Connection (closed|reset) by peer|Timed out waiting|pair closure|failed to recv',
        str(error)) is not None


@contextmanager
def one_line_errors(interrupted: str = 'the same command starts over') -> Iterator[None]:
    """Print an :class:`InputError` as one line and exit with status 2.

    The same applies to errors of the system (a full disk, a missing folder), and to settings that
    a class of the config does not accept. The status is 1 if a tool started by this one has failed
    or another process has closed its connection, since these print the reason themselves; if
    another process does not answer, it is the status of a run to resume. All other errors are
    faults of the program and keep their traceback.

    Ctrl-C prints one line, too; then the process ends by the signal, as shells expect. Python's
    warnings are lines as those of :func:`warn`, without the line of code that gave them.

    Args:
        interrupted: Message after Ctrl-C.
    """
    sys.excepthook = _without_interrupts
    try:
        with _heard_interrupts(), _printable_output(), _plain_warnings():
            yield
    except KeyboardInterrupt:
        if os.environ.get('RANK', '0') == '0':
            say('interrupted', interrupted)
        raise
    except InputError as error:
        # From a worker of a data loader the message arrives with the worker's traceback in front.
        say('error', re.split(r'(?m)^amt_mm\.errors\.\w+: ', str(error).strip())[-1])
        sys.exit(2)
    except RunError as error:
        say('error', str(error))
        sys.exit(1)
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        say('error', _refused(error))
        sys.exit(2)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        if not _of_the_config(error):
            raise
        text = str(error.args[0] if error.args else type(error).__name__)
        # MMEngine's message on an unregistered name continues for several sentences.
        say('error', f'config: {text.split(". Please check")[0].splitlines()[0]}')
        sys.exit(2)
    except RuntimeError as error:
        if not lost_connection(error):
            raise
        say('error', 'another process of this run has ended or cannot be reached, see its own '
                     f'message ({str(error).splitlines()[0]})')
        sys.exit(REQUEUE_STATUS if 'Timed out' in str(error) else 1)


def end_interrupted() -> NoReturn:
    """End this process by SIGINT, so that a loop of a shell script ends with it."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise KeyboardInterrupt


def _without_interrupts(kind: type[BaseException], error: BaseException,
                        trace: TracebackType | None) -> None:
    # After KeyboardInterrupt, Python ends the process by the signal itself.
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _heard_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, even if a library turns it into another error.

    Before, Ctrl-C ended the process: see :mod:`amt_mm.cli.parse_first`.
    """
    told = []

    def hear(number: int, _) -> None:
        told.append(number)
        raise KeyboardInterrupt

    heard = (threading.current_thread() is threading.main_thread()
             and signal.getsignal(signal.SIGINT) != signal.SIG_IGN)
    if heard:
        signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _printable_output() -> Iterator[None]:
    """Escape unprintable file names in output and logs; end if a log cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # of a notebook, or redirected
            stream.reconfigure(errors='backslashreplace')
    before = logging.getLogRecordFactory(), logging.Handler.handleError
    logging.setLogRecordFactory(_PrintableRecord)
    logging.Handler.handleError = _raise_again
    try:
        yield
    finally:
        logging.setLogRecordFactory(before[0])
        logging.Handler.handleError = before[1]


@contextmanager
def _plain_warnings() -> Iterator[None]:
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: _line('warning', str(message)) + '\n'
    try:
        yield
    finally:
        warnings.formatwarning = before


class _PrintableRecord(logging.LogRecord):
    """A log line without characters that a terminal interprets."""

    def getMessage(self) -> str:  # noqa: N802
        """The line."""
        return printable(super().getMessage())


def _raise_again(handler: logging.Handler, record: logging.LogRecord) -> None:
    # Instead of a traceback for each line.
    error = sys.exc_info()[1]
    if isinstance(error, ValueError):
        return  # the stream was closed
    if isinstance(error, OSError) and error.filename is None:
        error.filename = getattr(handler, 'baseFilename', None)
    raise error


def _reader_has_gone() -> bool:
    """Whether the reader of stdout has closed it, as `head` does; then discard further output."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return gone


def _refused(error: OSError) -> str:
    """Message of the system, with the file if it is known."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = 'the disk is full: make room and run the same command again'
    else:
        # From a worker of a data loader, too, the reason stands last.
        reason = error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return f'{os.fsdecode(error.filename)}: {reason}' if error.filename else reason


def _of_the_config(error: Exception) -> bool:
    """Whether a library refuses settings of the config while building from it.

    Errors within our own or the user's classes do not count.
    """
    frames = traceback.extract_tb(error.__traceback__)
    builds = any(frame.name.startswith('build') and Path(frame.filename).is_relative_to(_MMENGINE)
                 for frame in frames)
    last = Path(frames[-1].filename)
    return builds and not last.is_relative_to(_OURS) and any(
        part in ('site-packages', 'dist-packages') for part in last.parts)
