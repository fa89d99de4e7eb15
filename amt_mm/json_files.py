"""Small JSON files of runs and tables: strict when written, named when they cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError


def read_json(path: Path) -> Any:
    """Read a file of results or settings.

    Raises:
        InputError: It is not JSON, as after a full disk, or cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8', errors='surrogateescape'))
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from error
    # RecursionError: thousands of brackets.
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is not JSON ({error}): remove it, and the same command makes '
                         'it again') from error


def plain_values(value: Any) -> Any:
    """Convert to what JSON has: no numpy numbers, and null for NaN and infinity."""
    if isinstance(value, dict):
        return {key: plain_values(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
