"""Parse the command line before the slow imports."""

from __future__ import annotations

import sys
from collections.abc import Callable


def parse_first(parse_args: Callable[[], object]) -> None:
    """Parse the command line, then import the stack; a tool calls this before it imports from it.

    So help and usage errors come at once, without the seconds that the stack takes. A missing
    package ends the tool with one line.
    """
    try:
        parse_args()
        import amt_mm.registry  # noqa: F401
    except ImportError as missing:
        sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then '
                 'use .venv/bin/python')
