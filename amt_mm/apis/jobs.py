"""Run the tools as processes, one folder per run, so that an interrupted series can continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.checkpoints.newest import has_begun
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.checks import is_number
from amt_mm.config_parts import LOADING_SPEED
from amt_mm.errors import INTERRUPTED_STATUS, REQUEUE_STATUS, InputError, RunError
from amt_mm.file_lock import file_lock
from amt_mm.json_files import parse_json
from amt_mm.links import no_link
from amt_mm.shipped import tools_folder

_running: set[subprocess.Popen] = set()
# Set when the series is told to end: runs that wait in a pool must not start.
_stopping = threading.Event()


def claim(work_dir: Path, cfg: Config, identity: Callable[[dict], dict] | None = None) -> Path:
    """Write the config that a folder serves, or refuse if it serves another.

    Args:
        work_dir: Folder of the run; created if missing.
        cfg: The resolved config.
        identity: Returns what identifies a run, given its settings. Defaults to all of them.

    Returns:
        The config file, for the tools.

    Raises:
        InputError: The folder holds a run of another config or of an unknown one, or the config as
            text does not say what it is: the file is a program, and settings may come from a
            checkpoint.
    """
    file, text = settings_file(work_dir), cfg.pretty_text
    # MMEngine replaces what stands in double braces before it executes the file.
    if read_config_text(text) != cfg.to_dict() or '{{' in text:
        raise InputError(f'{work_dir}: the config holds more than constants, lists and '
                         'dictionaries with plain names, or a text with {{, so it cannot be '
                         'written')
    # Two commands may be started at once.
    with file_lock(file.parent, wait=True):
        if not file.is_file() and has_begun(work_dir):
            raise InputError(f'{work_dir} holds checkpoints, but not the settings that they were '
                             f'trained with ({file}): use another folder for results')
        if not _is_claimed(work_dir, text, identity):
            write_text(file, text)
    return file


def settings_file(work_dir: Path) -> Path:
    """File where :func:`claim` writes the config of a run."""
    # In a subfolder: the runner dumps its config under the same name in work_dir.
    return work_dir / 'settings' / 'config.py'


def claimed_settings(work_dir: Path) -> str | None:
    """Read the config that :func:`claim` wrote; None if it wrote none."""
    file = settings_file(work_dir)
    # As write_text writes.
    return file.read_text(encoding='utf-8', errors='surrogateescape') if file.is_file() else None


def check_claim(work_dir: Path, cfg: Config,
                identity: Callable[[dict], dict] | None = None) -> bool:
    """Whether a folder has been claimed for a config; arguments as for :func:`claim`.

    Raises:
        InputError: It has been claimed for another one.
    """
    _is_claimed(work_dir, cfg.pretty_text, identity)
    return settings_file(work_dir).is_file()


def _is_claimed(work_dir: Path, text: str, identity: Callable[[dict], dict] | None = None) -> bool:
    """Whether the settings are there; not if they are there in other words."""
    claimed = claimed_settings(work_dir)
    if claimed is None:
        return False
    if claimed == text:
        return True
    if not identity or identity(read_config_text(claimed)) != identity(read_config_text(text)):
        raise InputError(f'{work_dir} holds a run of other settings or images (see '
                         f'{settings_file(work_dir)}): use another folder for results, or remove '
                         'this one')
    return False


def without_speed(part: Any, change: Callable[[Mapping], Mapping]) -> Any:
    """Prepare settings that identify a run, for :func:`claim`.

    Args:
        part: Settings, or a value in them.
        change: Returns a section as it identifies the run; called from the outside inwards.

    Returns:
        The same without how fast images are loaded, with lists for tuples.
    """
    if isinstance(part, (list, tuple)):
        return [without_speed(each, change) for each in part]
    if not isinstance(part, Mapping):
        return part
    return {key: without_speed(value, change) for key, value in change(part).items()
            if key not in LOADING_SPEED}


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


def scalars(work_dir: Path) -> list[dict]:
    """Read all scalars that MMEngine wrote in a work_dir, in the order of the runs.

    Raises:
        InputError: A line is damaged.
    """
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        # A killed process or a full disk leaves a part of a line, without its end, as the last.
        for number, line in enumerate(file.read_bytes().split(b'\n')[:-1], 1):
            records.append(_record(line, f'{file}:{number}'))
    return records


def _record(line: bytes, where: str) -> dict:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise InputError(f'{where} is not JSON ({error}): remove the line') from error
    if not isinstance(record, dict) or not all(map(is_number, record.values())):
        raise InputError(f'{where} is no record of numbers: remove the line')
    return record
