"""Low-shot accuracy: which k, which images, and classes that only the test images show."""

import pytest
import torch

from amt_mm.evaluation import knn_classify
from amt_mm.evaluation.drawing import draw_of_each_class
from amt_mm.evaluation.low_shot_loop import low_shot_accuracy


@pytest.mark.parametrize(('classes', 'shots', 'k'), [(4, 4, 16), (9, 8, 20)])
def test_the_number_of_neighbours(classes, shots, k):
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(40 * classes) % classes
    centres = torch.randn(classes, 6, generator=chance)
    # (With 1 image a class the number of voters changes no answer: the nearest weighs most.)
    # Far from the origin: all cosines are near 1, and each voter counts about the same.
    features = 9 + centres[labels] + torch.randn(len(labels), 6, generator=chance)
    test = 9 + torch.randn(50, 6, generator=chance)
    drawn = draw_of_each_class(labels, shots, [4, 2])
    answer, other = (knn_classify(features[drawn], labels[drawn], test, n)
                     for n in (k, k // 2))
    assert low_shot_accuracy(features, labels, test, answer, shots, [4, 2]) == 100
    assert low_shot_accuracy(features, labels, test, other, shots, [4, 2]) < 100


@pytest.mark.parametrize('classifier', ['knn', 'linear'])
def test_a_class_that_only_the_test_images_show_is_never_right(classifier):
    features = torch.eye(2).repeat(4, 1)
    labels = torch.tensor([0, 1] * 4)
    test, test_labels = torch.eye(2)[[0, 1, 1, 0]], torch.tensor([0, 1, 1, 9])
    assert low_shot_accuracy(features, labels, test, test_labels, 3, [0], classifier) == 75
