"""Validate what hooks store in a checkpoint besides weights.

A checkpoint may come from anybody and some records name files. So each record has a fixed list of
keys and types, and a file is a bare name, never a path.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from amt_mm.errors import InputError

# Keys of the references to the map files that a checkpoint was trained with.
MAP_KEYS = ('amt_saliency', 'amt_token_losses')
_MAP_FILE = re.compile(r'(epoch|iter|losses|given|encoder)_\d+\.amtmap')


def is_step(value: object) -> bool:
    """Whether a value is a non-negative integer."""
    return type(value) is int and value >= 0


def is_step_or_none(value: object) -> bool:
    """Whether a value is a non-negative integer or None."""
    return value is None or is_step(value)


def are_steps(value: object) -> bool:
    """Whether a value is a list of non-negative integers."""
    return isinstance(value, list) and all(map(is_step, value))


def is_text(value: object) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def check_record(record: object, kinds: Mapping[str, Callable[[object], bool]], where: str
                 ) -> dict[str, Any]:
    """Validate the keys and values of a record.

    Args:
        record: What the file holds.
        kinds: Key -> predicate for its value.
        where: File and record, for the message.

    Returns:
        The record.

    Raises:
        InputError: A key is missing or unknown, or a value is of another kind.
    """
    if not isinstance(record, dict) or record.keys() != kinds.keys():
        raise _refused(where, f'it does not hold {", ".join(kinds)}, and nothing else')
    for name, fits in kinds.items():
        if not fits(record[name]):
            raise _refused(where, f'its {name} is {reprlib.repr(record[name])}')
    return record


def check_map_record(record: object, where: str) -> dict[str, Any]:
    """Validate a checkpoint's reference to a map file, see :func:`check_record`.

    The file is a bare name; it is looked for in the run's ``saliency`` folder and next to the
    checkpoint.
    """
    return check_record(record, {
        'file': lambda name: is_text(name) and _MAP_FILE.fullmatch(name) is not None,
        'step': is_step, 'fingerprint': is_text, 'crc32': is_step}, where)


def _refused(where: str, reason: str) -> InputError:
    return InputError(f'{where} is not what this toolbox writes ({reason}): the checkpoint was '
                      'damaged or changed; use another one')
