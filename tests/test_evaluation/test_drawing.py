"""Draws of labelled images: how many of each class, which, and that they follow from the seed."""

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.evaluation.drawing import (
    draw_evenly,
    draw_of_each_class,
    held_out,
    number_in_class,
    number_of_file,
)

LABELS = torch.tensor([2, 0, 1] * 9 + [2] * 30 + [0, 1, 1])  # 10, 11 and 39 images


def test_number_in_class_counts():
    assert number_in_class(torch.tensor([2, 0, 2, 2, 0, 7])).tolist() == [0, 0, 1, 2, 1, 0]


def test_frames_of_a_file_are_held_out_together():
    """Five files of class 1, of 10 frames each, then six of class 0 whose numbers are lower."""
    labels = torch.tensor([1] * 50 + [0] * 12)
    files = torch.cat([torch.arange(8, 3, -1).repeat_interleave(10), torch.arange(6) // 2 % 2,
                       torch.tensor([2, 3] + [9] * 4)])
    assert number_of_file(labels, files).tolist() == [
        *torch.arange(5).repeat_interleave(10).tolist(), 0, 0, 1, 1, 0, 0, 2, 3, 4, 4, 4, 4]
    aside = held_out(labels, files)
    assert not set(files[aside].tolist()) & set(files[~aside].tolist())
    assert set(files[aside].tolist()) == {4, 9}


def test_files_of_one_image_each_change_nothing():
    files = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))
    assert torch.equal(number_of_file(LABELS, files), number_in_class(LABELS))


@pytest.mark.parametrize('shots', [1, 4, 10])
def test_each_class_gives_the_same_number_and_no_image_twice(shots):
    drawn = draw_of_each_class(LABELS, shots, [0, 3])
    assert torch.bincount(LABELS[drawn]).tolist() == [shots] * 3
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert torch.equal(drawn, draw_of_each_class(LABELS, shots, [0, 3]))
    assert not torch.equal(drawn, draw_of_each_class(LABELS, shots, [0, 4]))
    # Fewer shots of one draw are part of more.
    assert set(draw_of_each_class(LABELS, 1, [0, 3]).tolist()) <= set(drawn.tolist())


def test_every_image_of_a_class_is_equally_likely():
    counts = torch.zeros(len(LABELS))
    for seed in range(600):
        counts[draw_of_each_class(LABELS, 3, [seed])] += 1
    for label, size in enumerate([10, 11, 39]):
        expected = 600 * 3 / size
        # Four standard deviations of a binomial count, of the rarest image as of the commonest.
        assert (counts[label == LABELS] - expected).abs().max() < 4 * expected**.5


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(InputError, match='class 0 has 10') as raised:
        draw_of_each_class(LABELS, 11, [0])
    assert '\n' not in str(raised.value)
    with pytest.raises(InputError, match=r'class 3 \(owl\) has 0'):
        draw_of_each_class(LABELS, 1, [0], ('cat', 'dog', 'emu', 'owl'))


@pytest.mark.parametrize(('count', 'wanted'), [
    (3, [1, 1, 1]), (29, None), (33, [10, 11, 12]), (50, [10, 11, 29]), (60, [10, 11, 39]),
    (99, [10, 11, 39])])
def test_an_even_draw_fills_classes_in_turn(count, wanted):
    drawn = draw_evenly(LABELS, count, [1])
    sizes = torch.bincount(LABELS[drawn], minlength=3)
    assert len(set(drawn.tolist())) == len(drawn) == min(count, 60)
    assert drawn.tolist() == sorted(drawn.tolist())
    if wanted is None:  # not divisible: who gets one more is chance
        assert sizes.max() - sizes.min() == 1
    else:
        assert sizes.tolist() == wanted


def test_classes_that_get_one_more_are_random():
    lucky = {int(LABELS[draw_evenly(LABELS, 1, [seed])]) for seed in range(40)}
    assert lucky == {0, 1, 2}
