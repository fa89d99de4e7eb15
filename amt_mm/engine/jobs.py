"""Run the tools as processes, one folder a run, so that a broken series goes on."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from amt_mm.errors import INTERRUPTED_STATUS, REQUEUE_STATUS, InputError

from .safe_save import write_text

_running: set[subprocess.Popen] = set()
# Runs that wait in a pool must not start when the series is told to end.
_stopping = threading.Event()


def tools_folder() -> Path:
    """Where tools/ lies: in a clone, or under ``.mim`` of an installed package."""
    return _carried('tools')


def configs_folder() -> Path:
    """Where configs/ lies: in a clone, or under ``.mim`` of an installed package."""
    return _carried('configs')


def _carried(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / name, package / '.mim' / name):
        if folder.is_dir() and (folder.parent / 'model-index.yml').is_file():
            return folder
    raise InputError(f'{name}/ is neither in the clone nor in the installed package: '
                     'reinstall amt_mm')


class RunError(RuntimeError):
    """A tool failed; the message says where its log is."""


def claim(work_dir: Path, cfg: Config) -> Path:
    """Write the config that this folder is for, or refuse if it is for another one.

    Args:
        work_dir: Folder of the run, made if need be.
        cfg: The resolved config. A folder serves one setting alone, so no result is
            taken for another's.

    Returns:
        The file, to be given to a tool.

    Raises:
        InputError: The folder holds a run of other settings.
    """
    file = settings_file(work_dir)
    if not check_claim(work_dir, cfg):
        write_text(file, cfg.pretty_text)
    return file


def settings_file(work_dir: Path) -> Path:
    """Where :func:`claim` writes the config of a run."""
    # In a folder of its own: the runner dumps its config under the same name in work_dir.
    return work_dir / 'settings' / 'config.py'


def check_claim(work_dir: Path, cfg: Config) -> bool:
    """Whether this folder has been claimed for a config.

    Raises:
        InputError: It has been for another one.
    """
    file = settings_file(work_dir)
    if not file.is_file():
        return False
    if file.read_text() != cfg.pretty_text:
        raise InputError(f'{work_dir} holds a run of other settings (see {file}): name another '
                         '--work-dir, or remove it')
    return True


@contextmanager
def stopping_children() -> Iterator[None]:
    """End the tools that run when this process is told to end: none trains on unseen.

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
    except SystemExit:
        if signal.SIGINT in told:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_tool(tool: str, arguments: Sequence[str | Path], options: Sequence[str | Path],
             work_dir: Path, processes: int = 1, threads: int | None = None,
             show: Sequence[str] | None = None, quiet: bool = False,
             environment: Mapping[str, str] | None = None) -> None:
    """Run ``tools/train.py``, ``tools/test.py`` or ``tools/judge.py`` as processes of their own.

    Args:
        tool: ``'train'``, ``'test'`` or ``'judge'``.
        arguments: Config and, for testing, checkpoint.
        options: What follows them; ``--work-dir`` is added.
        work_dir: Folder of the run.
        processes: How many, by ``dist_train.sh`` or ``dist_test.sh`` from two on.
        threads: CPU threads of each. Defaults to torch's choice.
        show: Write what is logged to ``<tool>.log`` in ``work_dir`` and print only
            the lines that contain one of these; errors and the progress bar stay.
            Defaults to None: print everything.
        quiet: Write all that it says to ``<tool>.log``, errors too, and print nothing.
        environment: Variables that its environment has besides.

    Raises:
        InputError: The tool refused its input, or another one works in this folder.
        RunError: It failed.
    """
    if processes > 1:
        start = ['bash', tools_folder() / f'dist_{tool}.sh', *arguments, processes]
    else:
        start = [sys.executable, tools_folder() / f'{tool}.py', *arguments]
    command = [str(part) for part in (*start, '--work-dir', work_dir, *options)]
    environment = {**os.environ, **(environment or {})}
    if threads is not None:
        environment['OMP_NUM_THREADS'] = str(threads)
    log = work_dir / f'{tool}.log'
    with _locked(work_dir):
        if quiet:
            with open(log, 'a') as file, _started(command, env=environment, stdout=file,
                                                  stderr=subprocess.STDOUT) as process:
                status = process.wait()
        elif show is None:
            with _started(command, env=environment) as process:
                status = process.wait()
        else:
            status = _run_logged(command, environment, log, show)
    where = '' if show is None and not quiet else f', see {log}'
    if status == 2:
        raise InputError(f'{work_dir}: tools/{tool}.py refused its input'
                         f'{where if quiet else ", see the line above"}')
    if status in (REQUEUE_STATUS, INTERRUPTED_STATUS, -signal.SIGINT):
        raise RunError(f'tools/{tool}.py in {work_dir} was stopped and has saved: the same command '
                       'goes on from there')
    if status:
        raise RunError(f'tools/{tool}.py in {work_dir} failed with status {status}{where}')


@contextmanager
def _locked(work_dir: Path) -> Iterator[None]:
    """Keep a second series away; the system releases the lock of a process that dies."""
    with open(work_dir / '.lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f'{work_dir}: another process is at work in this folder') from error
        try:
            yield
        finally:
            # Closing alone would leave the lock to a process that another thread forks just then.
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _started(command: Sequence[str], **options) -> Iterator[subprocess.Popen]:
    if _stopping.is_set():
        raise RunError('told to end before it was started')
    with subprocess.Popen(command, **options) as process:
        _running.add(process)
        try:
            yield process
        finally:
            _running.discard(process)


def _run_logged(command: Sequence[str], environment: Mapping[str, str], log: Path,
                show: Sequence[str]) -> int:
    """Run a command; what it says goes to ``log``, errors and some lines to ours too."""
    # On a terminal its bar should know that there is one; elsewhere errors belong in the log, too.
    errors = None if sys.stderr.isatty() else subprocess.PIPE
    # Names of files, which it may say, need not be UTF-8.
    with open(log, 'a') as file, _started(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
            errors='backslashreplace') as process:

        def copy_errors() -> None:
            for line in process.stderr or ():
                file.write(line)
                sys.stderr.write(line)

        thread = threading.Thread(target=copy_errors)
        thread.start()
        for line in process.stdout:
            file.write(line)
            if any(text in line for text in show):
                # Over a progress bar on the same terminal.
                tqdm.write(line.rstrip())
                # Into a file or a pipe, too, it should come when it is said.
                sys.stdout.flush()
        thread.join()
        return process.wait()


def scalars(work_dir: Path) -> list[dict]:
    """All scalars that MMEngine wrote in a work_dir, in the order of the runs."""
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        records += [json.loads(line) for line in file.read_text().splitlines()]
    return records
