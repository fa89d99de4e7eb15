"""Checks of arguments, for one-line errors."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

from .errors import InputError


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Reject a value that is not among the choices.

    Raises:
        InputError: Names the field and lists the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f'{name}={value!r} is unknown; use one of '
                         f'{", ".join(map(repr, choices))}')


def check_numbers(name: str, values: object) -> None:
    """Reject what is not a list or tuple of numbers, such as one number alone.

    Raises:
        InputError: Names the field.
    """
    if not isinstance(values, (list, tuple)) or not all(map(is_number, values)):
        raise InputError(f'{name}={values!r}: give a list of numbers, such as [.1,.2]')


def is_index(text: str) -> bool:
    """Whether a text is a whole number from 0 on; Python refuses those of thousands of digits."""
    return text.isdecimal() and len(text) < 19


def is_number(value: object) -> bool:
    """Whether a value is a real number, of Python or numpy; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)
