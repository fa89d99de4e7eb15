"""The most frequent errors, by the confusion matrix of scikit-learn."""

import numpy as np
import torch
from html_page import Page
from sklearn.metrics import confusion_matrix

from amt_mm.visualization.confusions_section import (
    Answers,
    confused_pairs,
    confusions_section,
)

NAMES = ['hat', '<sock>', 'coat']


def test_pairs_are_the_largest_entries_beside_the_diagonal():
    chance = np.random.default_rng(0)
    labels, predictions = chance.integers(0, 5, 301), chance.integers(0, 5, 301) ** 2 % 5
    answers = Answers(torch.from_numpy(predictions), torch.from_numpy(labels), None)
    matrix = confusion_matrix(labels, predictions)
    np.fill_diagonal(matrix, 0)
    found = confused_pairs(answers, 7)
    assert [count for *_, count, _ in found] == sorted(matrix.flatten().tolist())[:-8:-1]
    for true, taken, count, size in found:
        assert matrix[int(true), int(taken)] == count and (labels == int(true)).sum() == size


def test_the_table_tells_them_by_name():
    answers = Answers(torch.tensor([0, 1, 1, 1, 2]), torch.tensor([0, 0, 0, 1, 2]), NAMES)
    texts = Page(confusions_section({'MAE: k-NN': answers})).texts
    assert {'MAE: k-NN', 'hat as <sock>, 2 of 3'} <= set(texts)
    assert texts.count('–') == 2  # there is one kind of error


def test_a_classifier_without_errors_has_none():
    labels = torch.tensor([0, 1, 2])
    assert confused_pairs(Answers(labels, labels, NAMES)) == []
