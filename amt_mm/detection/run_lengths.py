"""Lengths of run-length encoded masks, for many masks at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Five bits a character: 2**29 pixels, more than any image that is read.
_CHARACTERS = 6


def count_pixels(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Decode the ``counts`` of compressed masks, without their pixels.

    pycocotools reads past the end of a truncated text and leaves the memory of missing pixels as
    it is, so its decoder cannot tell. The format is that of its ``rleToString``: numbers of five
    bits per character, low bits first, with a sign; from the fourth on, differences to the last
    number but one.

    Args:
        texts: ``counts`` of n masks.

    Returns:
        Pixels of mask and background, ``(n,)``, and pixels of the mask, ``(n,)``; -1 in both
        where a text is not in this format.
    """
    # An empty text has no pixels, as a single run of length 0 has.
    texts = [text or '0' for text in texts]
    codes = np.frombuffer(''.join(texts).encode('utf-32-le', 'surrogatepass'), np.uint32)
    codes = codes.astype(np.int64) - 48
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts)), lengths)  # of each character
    broken = np.zeros(len(texts), bool)
    broken[owner[(codes < 0) | (codes > 63)]] = True

    last = codes & 32 == 0
    ends = np.cumsum(lengths) - 1
    broken |= ~last[ends]
    last[ends] = True
    final = np.flatnonzero(last)
    first = np.concatenate([[0], final[:-1] + 1])
    size = final - first + 1
    owner = owner[first]  # of each number
    broken[owner[size > _CHARACTERS]] = True
    place = np.minimum(np.arange(len(codes)) - np.repeat(first, size), _CHARACTERS)
    numbers = np.add.reduceat((codes & 31) << 5 * place, first)
    negative = codes[final] & 16 > 0
    numbers -= np.where(negative, 1 << 5 * np.minimum(size, _CHARACTERS), 0)

    position = np.arange(len(numbers)) - np.searchsorted(owner, owner)
    runs = numbers.copy()
    for chain in ((position % 2 == 1), (position % 2 == 0) & (position > 0)):
        members = np.flatnonzero(chain)
        if not len(members):
            continue
        sums = np.cumsum(numbers[members])
        starts = np.searchsorted(owner[members], owner[members])
        runs[members] = sums - (sums[starts] - numbers[members][starts])
    broken[owner[runs < 0]] = True
    total = np.bincount(owner, runs, len(texts)).astype(np.int64)
    inside = np.bincount(owner, runs * (position % 2), len(texts)).astype(np.int64)
    total[broken] = inside[broken] = -1
    return total, inside
