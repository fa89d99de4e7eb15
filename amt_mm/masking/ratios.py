"""From ratios to exact numbers of tokens."""

from __future__ import annotations

import math
from fractions import Fraction

from amt_mm.checks import check_choice, is_number
from amt_mm.errors import InputError


def check_ratios(mask_ratio: float, throw_ratio: float = 0.0, prefix: str = '') -> None:
    """Check that some tokens are masked and some stay visible.

    Args:
        mask_ratio: Masking ratio.
        throw_ratio: Throwing ratio.
        prefix: Prefix of ``mask_ratio`` and ``throw_ratio`` in messages.

    Raises:
        InputError: A ratio is not a number or negative, nothing is masked, or nothing stays
            visible.
    """
    if not is_number(mask_ratio) or not 0 < mask_ratio < 1:
        raise InputError(f'{prefix}mask_ratio={mask_ratio!r} must be a number between 0 and 1')
    check_share(throw_ratio, f'{prefix}throw_ratio')
    if _exact(mask_ratio) + _exact(throw_ratio) >= 1:
        raise InputError(f'{prefix}mask_ratio={mask_ratio} and {prefix}throw_ratio={throw_ratio} '
                         'sum to 1 or more: no patch would stay visible; lower one of them')


def check_share(share: float, name: str) -> None:
    """Check that a value is a number, at least 0 and less than 1.

    Raises:
        InputError: It is not; names it by ``name``.
    """
    if not is_number(share) or not 0 <= share < 1:
        raise InputError(f'{name}={share!r} must be a number, at least 0 and less than 1')


def split_counts(num_tokens: int, mask_ratio: float, throw_ratio: float = 0.0,
                 rounding: str = 'floor', prefix: str = '') -> tuple[int, int]:
    """Compute the numbers of masked and of thrown tokens (or units) among ``num_tokens``.

    Ratios are read as decimals, so that .29 of 100 is 29 although the binary number is slightly
    less.

    Args:
        num_tokens: Tokens of the grid.
        mask_ratio: Masking ratio r.
        throw_ratio: Throwing ratio t.
        rounding: ``'floor'`` as in MAE: ``floor(N r)`` masked, ``floor(N (r + t))`` masked and
            thrown. ``'ceil'`` as in SimMIM: ``ceil(N r)`` masked, ``ceil(N t)`` thrown.
        prefix: Prefix of ``mask_ratio`` and ``throw_ratio`` in messages.

    Returns:
        ``(num_masked, num_thrown)``.

    Raises:
        InputError: Ratios out of range, an unknown rounding, or too small a grid.
    """
    check_ratios(mask_ratio, throw_ratio, prefix)
    check_choice('rounding', rounding, ('floor', 'ceil'))
    mask, throw = num_tokens * _exact(mask_ratio), num_tokens * _exact(throw_ratio)
    if rounding == 'floor':
        num_masked = math.floor(mask)
        num_thrown = math.floor(mask + throw) - num_masked
    else:
        num_masked, num_thrown = math.ceil(mask), math.ceil(throw)
    if num_masked < 1 or num_masked + num_thrown >= num_tokens:
        raise InputError(
            f'{prefix}mask_ratio={mask_ratio}, {prefix}throw_ratio={throw_ratio} on {num_tokens} '
            f'tokens give {num_masked} masked and {num_tokens - num_masked - num_thrown} visible; '
            'at least one of each is needed')
    return num_masked, num_thrown


def floor_share(number: int, *ratios: float) -> int:
    """Compute ``floor(number * ratio * ...)``, with ratios read as in :func:`split_counts`."""
    return math.floor(number * math.prod(map(_exact, ratios)))


def _exact(ratio: float) -> Fraction:
    return Fraction(str(ratio))
