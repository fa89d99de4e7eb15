"""count_states: how often each token is visible, masked and thrown."""

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.masking import (
    MASKED,
    THROWN,
    VISIBLE,
    AMTMaskGenerator,
    CropMasking,
    count_states,
)

GRID = (5, 7)


def states_of(seed, weights):
    generator = torch.Generator().manual_seed(seed)
    return lambda: AMTMaskGenerator()(3, GRID, weights, generator=generator).states()


def test_counts_equal_a_slow_loop_and_sum_to_the_draws():
    weights = torch.rand(3, 35, generator=torch.Generator().manual_seed(1))
    found = count_states(states_of(0, weights), 40)
    draw = states_of(0, weights)
    plans = [draw().tolist() for _ in range(40)]
    for state in (VISIBLE, MASKED, THROWN):
        for image in range(3):
            for token in range(35):
                wanted = sum(plan[image][token] == state for plan in plans)
                assert found[state, image, token] == wanted
    assert (found.sum(dim=0) == 40).all()


def test_counts_agree_with_the_ratios_and_the_weights():
    weights = torch.full((3, 35), .01)
    weights[:, 4] = 5
    found = count_states(states_of(0, weights), 200)
    # 35 tokens at .45 and .40: 15 masked, 14 thrown, 6 visible.
    assert found.sum(dim=2).tolist() == [[200 * n] * 3 for n in (6, 15, 14)]
    assert (found[MASKED, :, 4] > 190).all()
    others = torch.arange(35) != 4
    assert (found[VISIBLE][:, others] / 200 - 6 / 34).abs().max() < .12


def test_masks_of_self_distillation_count_as_masked_and_visible():
    masking = CropMasking('random', ratio=(.4, .4), gate=1.)
    generator = torch.Generator().manual_seed(0)
    found = count_states(lambda: masking(2, GRID, generator=generator,
                                         host_generator=generator).states(), 30)
    assert found.sum(dim=2).tolist() == [[30 * 21] * 2, [30 * 14] * 2, [0, 0]]


def test_no_draw_is_refused():
    with pytest.raises(InputError, match='draws=0'):
        count_states(lambda: None, 0)
