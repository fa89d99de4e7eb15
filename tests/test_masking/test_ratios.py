from fractions import Fraction

import pytest

from amt_mm.errors import InputError
from amt_mm.masking import check_ratios, split_counts

# Tokens (or units) of the published tables.
TABLE = [
    (196, .75, 0, 'floor', (147, 0, 49)),  # MAE, and with attention-driven masking
    (196, .45, .40, 'floor', (88, 78, 30)),  # MAE + AMT
    (196, .75, .10, 'floor', (147, 19, 30)),  # ablation
    (49, .60, 0, 'ceil', (30, 0, 19)),  # SimMIM, and with attention-driven masking
    (49, .44, .26, 'ceil', (22, 13, 14)),  # SimMIM + AMT
    (49, .33, .50, 'ceil', (17, 25, 7)),  # the same, faster
]


@pytest.mark.parametrize(('num_tokens', 'mask', 'throw', 'rounding', 'wanted'), TABLE)
def test_counts_of_the_paper(num_tokens, mask, throw, rounding, wanted):
    masked, thrown = split_counts(num_tokens, mask, throw, rounding)
    assert (masked, thrown, num_tokens - masked - thrown) == wanted


@pytest.mark.parametrize(('entering', 'mask', 'throw'), [(144, .44, .26), (96, .33, .50)])
def test_tokens_that_enter_simmim(entering, mask, throw):
    _, thrown = split_counts(49, mask, throw, 'ceil')
    assert 4 * (49 - thrown) == entering


def test_two_decimal_ratios_are_read_as_decimals():
    # As binary floats .29 * 100 is 28.999... and .07 * 100 is 7.000...1.
    for num_tokens in (100, 196, 35):
        for percent in range(5, 95):
            ratio = float(f'0.{percent:02d}')
            product = num_tokens * percent
            assert split_counts(num_tokens, ratio)[0] == product // 100
            assert split_counts(num_tokens, ratio, rounding='ceil')[0] == -(-product // 100)
    assert int(100 * .29) == 28


def test_floor_rounds_masked_and_thrown_together():
    for mask_percent in range(5, 60, 3):
        for throw_percent in range(0, 40):
            mask, throw = mask_percent / 100, throw_percent / 100
            num_masked, num_thrown = split_counts(196, mask, throw)
            assert num_masked == 196 * mask_percent // 100
            assert num_masked + num_thrown == 196 * (mask_percent + throw_percent) // 100


def test_sums_of_ratios_are_exact():
    # As floats .7 + .1 is .7999...: one of ten tokens would be missing.
    assert split_counts(10, .7, .1) == (7, 1)
    assert int(10 * (.7 + .1)) == 7
    # Both sum to exactly 1.
    for mask, throw in ((.9, .1), (.35, .65)):
        with pytest.raises(InputError, match='sum to 1'):
            check_ratios(mask, throw)
    assert Fraction('0.9') + Fraction('0.1') == 1


@pytest.mark.parametrize(('mask', 'throw', 'field'), [
    (0, 0, 'mask_ratio'), (-.1, 0, 'mask_ratio'), (1, 0, 'mask_ratio'), (1.5, 0, 'mask_ratio'),
    (float('nan'), 0, 'mask_ratio'), (float('inf'), 0, 'mask_ratio'),
    (.5, -.1, 'throw_ratio'), (.5, 1, 'throw_ratio'), (.5, float('nan'), 'throw_ratio'),
    (.5, .5, 'throw_ratio'), (.75, .40, 'throw_ratio'),
    (None, 0, 'mask_ratio'), ('.5', 0, 'mask_ratio'), (.5, None, 'throw_ratio'),
    (.5, False, 'throw_ratio')])
def test_invalid_ratios_are_reported_in_one_line(mask, throw, field):
    for check in (check_ratios, lambda *ratios: split_counts(196, *ratios)):
        with pytest.raises(InputError, match=field) as caught:
            check(mask, throw)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('num_tokens', 'mask', 'throw', 'rounding'), [
    (1, .5, 0, 'floor'),  # nothing masked
    (1, .5, 0, 'ceil'),  # nothing visible
    (4, .51, .49 - 1e-9, 'ceil'),
    (4, .9, 0, 'ceil'),
    (10, .05, .5, 'floor')])
def test_grid_that_is_too_small_is_rejected(num_tokens, mask, throw, rounding):
    with pytest.raises(InputError, match=f'{num_tokens} tokens'):
        split_counts(num_tokens, mask, throw, rounding)


def test_unknown_rounding_is_rejected():
    with pytest.raises(InputError, match='round'):
        split_counts(196, .75, rounding='round')
