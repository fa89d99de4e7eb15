"""Run the tools as processes, one folder per run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from amt_mm.errors import INTERRUPTED_STATUS, REQUEUE_STATUS, InputError, RunError
from amt_mm.file_lock import file_lock
from amt_mm.links import no_link
from amt_mm.shipped import tools_folder

_running: set[subprocess.Popen] = set()
# Set when the series is told to end: runs that wait in a pool must not start.
_stopping = threading.Event()


@contextmanager
def stopping_children() -> Iterator[None]:
    """Terminate the running tools if this process is told to terminate.

    They save, and this process waits for that. A second Ctrl-C ends it at once, and in a
    terminal, which tells all processes, them too.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when they have ended.
    """
    told = []

    def end(number: int, _) -> None:
        told.append(number)
        _stopping.set()
        for process in list(_running):
            process.terminate()
        if number == signal.SIGINT:
            # The next one must be heard where this process waits for a pipe to close.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Unlike KeyboardInterrupt, it lets `Popen` wait for its process.
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)
              if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    except (Exception, SystemExit):
        # A library may have made another error of the exit that was raised inside it.
        if signal.SIGINT in told:
            raise KeyboardInterrupt from None
        if told:
            sys.exit(128 + told[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_tool(tool: str, arguments: Sequence[str | Path], options: Sequence[str | Path],
             work_dir: Path, processes: int = 1, threads: int | None = None,
             show: Sequence[str] | None = None, quiet: bool = False,
             environment: Mapping[str, str] | None = None) -> None:
    """Run ``tools/train.py``, ``tools/test.py`` or ``tools/judge.py`` in separate processes.

    Args:
        tool: ``'train'``, ``'test'`` or ``'judge'``.
        arguments: Config and, for testing, checkpoint.
        options: Further arguments; ``--work-dir`` is added.
        work_dir: Folder of the run.
        processes: How many; from two on with ``dist_train.sh`` or ``dist_test.sh``.
        threads: CPU threads of each. Defaults to torch's choice.
        show: Write the output to ``<tool>.log`` in ``work_dir`` and print only lines that contain
            one of these strings; errors and the progress bar are still shown. Defaults to None:
            print everything.
        quiet: Write all output to ``<tool>.log``, errors too, and print nothing.
        environment: Additional environment variables.

    Raises:
        InputError: The tool refused its input, or another process works in this folder.
        RunError: The tool failed.
    """
    if processes > 1:
        start = ['bash', tools_folder() / f'dist_{tool}.sh', *arguments, processes]
    else:
        start = [sys.executable, tools_folder() / f'{tool}.py', *arguments]
    command = [str(part) for part in (*start, '--work-dir', work_dir, *options)]
    environment = {**os.environ, **(environment or {})}
    # The scripts would take that of an active environment, which may be another one.
    environment.setdefault('PYTHON', sys.executable)
    if threads is not None:
        environment['OMP_NUM_THREADS'] = str(threads)
    log = work_dir / f'{tool}.log'
    with file_lock(work_dir):
        if quiet:
            with open(log, 'a', opener=no_link) as file, started(
                    command, env=environment, stdout=file, stderr=subprocess.STDOUT) as process:
                status = process.wait()
        elif show is None:
            with started(command, env=environment) as process:
                status = process.wait()
        else:
            status = _run_logged(command, environment, log, show)
    where = '' if show is None and not quiet else f', see {log}'
    if status == 2:
        raise InputError(f'{work_dir}: tools/{tool}.py refused its input'
                         f'{where if quiet else ", see the line above"}')
    if status in (REQUEUE_STATUS, INTERRUPTED_STATUS, -signal.SIGINT):
        # Only training saves on the way, and not where another process was lost.
        raise RunError(f'tools/{tool}.py in {work_dir} was stopped: run the same command to '
                       'continue')
    if status:
        raise RunError(f'tools/{tool}.py in {work_dir} failed with status {status}{where}')


@contextmanager
def started(command: Sequence[str], **options) -> Iterator[subprocess.Popen]:
    """Start a process that :func:`stopping_children` terminates.

    Args:
        command: Program and arguments.
        **options: Of ``subprocess.Popen``.

    Raises:
        RunError: The series was stopped before.
    """
    if _stopping.is_set():
        raise RunError('the series was stopped before this run started')
    with subprocess.Popen(command, **options) as process:
        _running.add(process)
        try:
            yield process
        finally:
            _running.discard(process)


def _run_logged(command: Sequence[str], environment: Mapping[str, str], log: Path,
                show: Sequence[str]) -> int:
    """Run a command and log its output; errors and selected lines are printed too."""
    # A progress bar needs the terminal itself; elsewhere errors go to the log too.
    errors = None if sys.stderr.isatty() else subprocess.PIPE
    # Names of files, which it may say, need not be UTF-8.
    with open(log, 'a', opener=no_link) as file, started(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
            errors='backslashreplace') as process:

        def copy_errors() -> None:
            for line in process.stderr or ():
                file.write(line)
                sys.stderr.write(line)

        def copy_output() -> None:
            for line in process.stdout:
                file.write(line)
                if any(text in line for text in show):
                    # Above the progress bar on a terminal, and at once into a file or pipe.
                    tqdm.write(line.rstrip())
                    sys.stdout.flush()

        thread = threading.Thread(target=copy_errors)
        thread.start()
        try:
            copy_output()
        finally:
            # If this process is told to end, the tool still says what it saves.
            copy_output()
            thread.join()
        return process.wait()
