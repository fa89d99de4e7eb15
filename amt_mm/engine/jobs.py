"""Run the tools as processes, one folder a run, so that a broken series goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from amt_mm.errors import InputError


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
    # In a folder of its own: the runner dumps its config under the same name in work_dir.
    file, text = work_dir / 'settings' / 'config.py', cfg.pretty_text
    if file.is_file():
        if file.read_text() != text:
            raise InputError(f'{work_dir} holds a run of other settings (see {file}): name another '
                             '--work-dir, or remove it')
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def run_tool(tool: str, arguments: Sequence[str | Path], options: Sequence[str | Path],
             work_dir: Path, processes: int = 1, threads: int | None = None,
             show: Sequence[str] | None = None) -> None:
    """Run ``tools/train.py`` or ``tools/test.py`` as processes of their own.

    Args:
        tool: ``'train'`` or ``'test'``.
        arguments: Config and, for testing, checkpoint.
        options: What follows them; ``--work-dir`` is added.
        work_dir: Folder of the run.
        processes: How many, by ``dist_train.sh`` or ``dist_test.sh`` from two on.
        threads: CPU threads of each. Defaults to torch's choice.
        show: Write what is logged to ``<tool>.log`` in ``work_dir`` and print only
            the lines that contain one of these; the progress bar stays. Defaults
            to None: print everything.

    Raises:
        InputError: The tool refused its input.
        RuntimeError: It failed.
    """
    if processes > 1:
        start = ['bash', tools_folder() / f'dist_{tool}.sh', *arguments, processes]
    else:
        start = [sys.executable, tools_folder() / f'{tool}.py', *arguments]
    command = [str(part) for part in (*start, '--work-dir', work_dir, *options)]
    environment = {**os.environ}
    if threads is not None:
        environment['OMP_NUM_THREADS'] = str(threads)
    log = work_dir / f'{tool}.log'
    if show is None:
        status = subprocess.run(command, env=environment, check=False).returncode
    else:
        status = _run_logged(command, environment, log, show)
    if status == 2:
        raise InputError(f'{work_dir}: tools/{tool}.py refused its input, see the line above')
    if status:
        where = '' if show is None else f', see {log}'
        raise RuntimeError(f'tools/{tool}.py in {work_dir} failed with status {status}{where}')


def _run_logged(command: Sequence[str], environment: Mapping[str, str], log: Path,
                show: Sequence[str]) -> int:
    """Run a command; its standard output goes to ``log``, some lines of it to ours too."""
    with open(log, 'a') as file, subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            file.write(line)
            if any(text in line for text in show):
                # Over a progress bar on the same terminal.
                tqdm.write(line.rstrip())
    return process.returncode


def scalars(work_dir: Path) -> list[dict]:
    """All scalars that MMEngine wrote in a work_dir, in the order of the runs."""
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        records += [json.loads(line) for line in file.read_text().splitlines()]
    return records
