"""One line to the person at the terminal, whatever process it comes from."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import mmengine

from .errors import REQUEUE_STATUS, InputError, RunError
from .printable import printable

# What a tool that keeps finished work says after Ctrl-C.
GOES_ON = 'the same command continues where it stopped'
_STDOUT = 1
_MMENGINE, _OURS = Path(mmengine.__file__).parent, Path(__file__).parent


def say(kind: str, text: str) -> None:
    """Print ``kind: text`` to the error stream; processes of a group but the first add their rank.

    Args:
        kind: Such as ``'error'``.
        text: One line.
    """
    rank = os.environ.get('RANK', '0')
    line = printable(text).replace('\n', '\\n')
    print(kind if rank == '0' else f'{kind} (rank {rank})', line, sep=': ', file=sys.stderr)


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
def one_line_errors(interrupted: str = 'the same command starts over') -> Iterator[None]:
    """Print an :class:`InputError` as one line and exit with status 2.

    So does what the system refuses (a full disk, a folder that is gone), and a setting that
    a class of the config does not have or take; so does, with status 1, a tool that this one
    has started and that failed, and a connection that another process has closed by ending:
    they say why themselves; one that does not answer ends with the status to be resumed.
    Everything else is a fault of the program and keeps its traceback.

    Ctrl-C is one line, too; then the process ends by the signal, as shells expect.

    Args:
        interrupted: What to say after Ctrl-C.
    """
    sys.excepthook = _without_interrupts
    try:
        with _heard_interrupts(), _printable_output():
            yield
    except KeyboardInterrupt:
        if os.environ.get('RANK', '0') == '0':
            say('interrupted', interrupted)
        raise
    except InputError as error:
        # From a worker of a data loader the message arrives with the worker's traceback in front.
        line = re.sub(r'^amt_mm\.errors\.\w+: ', '', str(error).strip().splitlines()[-1])
        say('error', line)
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
        # MMEngine's of a name that is not registered goes on for several sentences.
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
    # Python ends a process that it reaches by the signal itself.
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _heard_interrupts() -> Iterator[None]:
    """Ctrl-C is KeyboardInterrupt, also where a library makes another error of it.

    Until here it ended the process: see :mod:`amt_mm.cli.parse_first`.
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
    """Whatever names of files hold, print and log it; a log that cannot be written ends all."""
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


class _PrintableRecord(logging.LogRecord):
    """A line of a log, fit for a terminal."""

    def getMessage(self) -> str:  # noqa: N802
        """The line."""
        return printable(super().getMessage())


def _raise_again(handler: logging.Handler, record: logging.LogRecord) -> None:
    # In place of a traceback for each line.
    error = sys.exc_info()[1]
    if isinstance(error, ValueError):
        return  # the stream was closed
    if isinstance(error, OSError) and error.filename is None:
        error.filename = getattr(handler, 'baseFilename', None)
    raise error


def _reader_has_gone() -> bool:
    """Whether nobody reads what we print, as after `head`; then nothing more is printed."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return gone


def _refused(error: OSError) -> str:
    """What the system says, and of which file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = 'the disk is full: make room and run the same command again'
    else:
        # From a worker of a data loader, too, the reason stands last.
        reason = error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return f'{os.fsdecode(error.filename)}: {reason}' if error.filename else reason


def _of_the_config(error: Exception) -> bool:
    """Whether a library refuses what a config gives it to build.

    A fault of our own classes, or of the user's, is none.
    """
    frames = traceback.extract_tb(error.__traceback__)
    builds = any(frame.name.startswith('build') and Path(frame.filename).is_relative_to(_MMENGINE)
                 for frame in frames)
    last = Path(frames[-1].filename)
    return builds and not last.is_relative_to(_OURS) and any(
        part in ('site-packages', 'dist-packages') for part in last.parts)
