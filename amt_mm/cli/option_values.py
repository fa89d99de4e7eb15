"""Read the VALUE of a ``KEY=VALUE`` on a command line; imports nothing slow."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSES = {'[': ']', '(': ')'}
_WORDS = {'true': True, 'false': False}


def read_value(text: str) -> object:
    """Read a value: a number, True, False, None, a list of such, else the text as it stands.

    ``[a, b]`` is a list and ``(a, b)`` a tuple; numbers alone, ``1,2``, are a list without
    brackets. Anything else is text, with its blanks, commas, quotes and equals signs, so that
    paths arrive as given: MMEngine's ``DictAction`` removes blanks and quotes, and makes a list of
    what has a comma. Quotes around the whole value or element make text of it: ``'2024'``.

    Args:
        text: What the shell passes on.

    Raises:
        ValueError: It begins with a bracket that nothing closes.
    """
    if text[:1] in _CLOSES and _end_of_first(text) == len(text) - 1:
        elements = [read_value(element.strip()) for element in _divided(text[1:-1])]
        return tuple(elements) if text[0] == '(' else elements
    if quoted := re.fullmatch(r"""'([^']*)'|"([^"]*)\"""", text):
        return quoted[1] if quoted[2] is None else quoted[2]
    if ',' in text:
        numbers = [_read_word(element) for element in text.split(',')]
        return text if any(isinstance(number, str) for number in numbers) else numbers
    return _read_word(text)


def _read_word(text: str) -> object:
    if '_' not in text:  # Python would take 2024_01 for a number
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return None if text == 'None' else _WORDS.get(text.lower(), text)


def _bare(text: str) -> Iterator[tuple[int, str]]:
    """Characters outside quotes, with their places; a quote opens where an element begins."""
    quote, begins = '', True
    for place, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
            continue
        if begins and char in '\'"':
            quote, begins = char, False
            continue
        yield place, char
        begins = char in '[(,' or (begins and char == ' ')


def _end_of_first(text: str) -> int:
    """Place of the bracket that closes the first character."""
    open_ones = []
    for place, char in _bare(text):
        if char in _CLOSES:
            open_ones.append(_CLOSES[char])
        elif open_ones and char == open_ones[-1]:
            open_ones.pop()
            if not open_ones:
                return place
    raise ValueError(f'{text}: nothing closes {text[0]}')


def _divided(text: str) -> list[str]:
    """Elements between commas that are neither in quotes nor in brackets; none of nothing."""
    depth, begin, elements = 0, 0, []
    for place, char in _bare(text):
        depth += (char in _CLOSES) - (char in _CLOSES.values())
        if char == ',' and depth == 0:
            elements.append(text[begin:place])
            begin = place + 1
    return [*elements, text[begin:]] if text[begin:].strip() else elements
