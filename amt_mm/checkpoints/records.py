"""What hooks keep in a checkpoint beside weights, checked as it is read.

A checkpoint may come from anybody. Its records are plain data, yet some of them name files. So each
record has a fixed list of names and types, and a file name in it is a bare name, never a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from amt_mm.errors import InputError

# Keys under which hooks keep which map file a checkpoint was trained with.
MAP_KEYS = ('amt_saliency', 'amt_token_losses')
_MAP_FILE = re.compile(r'(epoch|iter|losses)_\d+\.amtmap')


def is_step(value: object) -> bool:
    """Whether a value is a whole number, 0 or more."""
    return type(value) is int and value >= 0


def is_step_or_none(value: object) -> bool:
    """Whether a value is a whole number, 0 or more, or None."""
    return value is None or is_step(value)


def are_steps(value: object) -> bool:
    """Whether a value is a list of whole numbers, 0 or more."""
    return isinstance(value, list) and all(map(is_step, value))


def is_number(value: object) -> bool:
    """Whether a value is a real number, of Python or numpy."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def check_record(record: object, kinds: Mapping[str, Callable[[object], bool]], where: str
                 ) -> dict[str, Any]:
    """Check a record against the names and types that it must have.

    Args:
        record: What the file holds.
        kinds: Name -> whether a value is of the right kind.
        where: The file and the record, for the message.

    Returns:
        The record.

    Raises:
        InputError: A name is missing or not among ``kinds``, or a value is of another kind.
    """
    if not isinstance(record, dict) or record.keys() != kinds.keys():
        raise _refused(where, f'it does not hold {", ".join(kinds)}, and nothing else')
    for name, fits in kinds.items():
        if not fits(record[name]):
            raise _refused(where, f'its {name} is {str(record[name])[:60]!r}')
    return record


def check_map_record(record: object, where: str) -> dict[str, Any]:
    """Check what a checkpoint says of a map file, see :func:`check_record`.

    The file is a bare name of the kind that this toolbox gives: it lies in the ``saliency``
    folder of the run or beside the checkpoint, wherever those are.
    """
    return check_record(record, {
        'file': lambda name: is_text(name) and _MAP_FILE.fullmatch(name) is not None,
        'step': is_step, 'fingerprint': is_text, 'crc32': is_step}, where)


def _refused(where: str, reason: str) -> InputError:
    return InputError(f'{where} is not what this toolbox writes ({reason}): the checkpoint was '
                      'damaged or changed; use another one')
