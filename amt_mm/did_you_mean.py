"""A suggestion for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(part: str, known: Iterable[str], most: int = 1, prefix: str = '') -> str:
    """End of a message on an unknown name: similar ones, or nothing.

    Args:
        part: The unknown name.
        known: Names that there are.
        most: How many to suggest. Defaults to 1.
        prefix: What all of them, and ``part``, begin with. Defaults to ''.
    """
    close = [prefix + name for name in get_close_matches(part, sorted(known), n=most)]
    if not close:
        return ''
    *others, last = close
    return f'; did you mean {", ".join(others)}{" or " if others else ""}{last}?'
