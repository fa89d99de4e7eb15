"""Text that comes from names of files and classes, made fit for a terminal, a file and a page."""

from __future__ import annotations

import re

# Controls of terminals, both sets; marks that turn the direction of text; and what stands for
# bytes of a file's name that are not UTF-8, which no encoding writes.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069'
                    '\ud800-\udfff]')


def printable(text: str) -> str:
    r"""The text with what is not fit to be shown escaped, as Python writes it.

    Args:
        text: Any. Tabs and ends of lines stay.

    Example:
        >>> printable('caf\udce9 \x1b[31m')
        'caf\\udce9 \\x1b[31m'
    """
    return _UNFIT.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def one_line(text: str) -> str:
    """As :func:`printable`, with ends of lines escaped, too."""
    return printable(text).replace('\n', '\\n')
