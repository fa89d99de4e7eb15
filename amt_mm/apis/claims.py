"""Let a folder serve one config only, so that an interrupted series can continue in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.checkpoints.newest import has_begun
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config_parts import LOADING_SPEED
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock


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
