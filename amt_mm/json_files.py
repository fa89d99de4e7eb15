"""Small JSON files of runs and tables: strict when written, named when they cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .checks import is_number
from .errors import InputError


def parse_json(text: str | bytes) -> Any:
    """As ``json.loads``, where thousands of brackets are a ValueError, too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error


def read_json(path: Path) -> Any:
    """Read a file of results or settings.

    Raises:
        InputError: It is not JSON, as after a full disk, or cannot be read.
    """
    try:
        return parse_json(path.read_text(encoding='utf-8', errors='surrogateescape'))
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from error
    except ValueError as error:
        raise InputError(f'{path} is not JSON ({error}): remove it, and the same command makes '
                         'it again') from error


def read_figures(path: Path) -> dict[str, float | None]:
    """Read a file of named numbers, of which some may be unknown.

    Raises:
        InputError: See :func:`read_json`; or it holds anything else.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not all(
            value is None or is_number(value) for value in found.values()):
        raise InputError(f'{path} holds something else than figures by their names: remove it, and '
                         'the same command makes it again')
    return found


def plain_values(value: Any) -> Any:
    """Convert to what JSON has: no numpy numbers, and null for NaN and infinity."""
    if isinstance(value, dict):
        return {key: plain_values(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
