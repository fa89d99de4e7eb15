"""One line to the person at the terminal, whatever process it comes from."""

from __future__ import annotations

import os
import sys


def say(kind: str, text: str) -> None:
    """Print ``kind: text`` to the error stream; processes of a group but the first add their rank.

    Args:
        kind: Such as ``'error'``.
        text: One line.
    """
    rank = os.environ.get('RANK', '0')
    print(kind if rank == '0' else f'{kind} (rank {rank})', text, sep=': ', file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning, once however many processes there are."""
    if os.environ.get('RANK', '0') == '0':
        say('warning', text)
