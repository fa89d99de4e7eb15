"""A suggestion for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(part: str, known: Iterable[str]) -> str:
    """End of a message on an unknown name: a similar one, or nothing."""
    close = get_close_matches(part, sorted(known), n=1)
    return f'; did you mean {close[0]}?' if close else ''
