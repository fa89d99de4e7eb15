"""Mean IoU against scikit-learn, and upsampling against torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix, jaccard_score

from amt_mm.evaluation import mean_iou
from amt_mm.evaluation.mean_iou import class_ious, confusion, upsampled_classes


def test_it_is_that_of_scikit_learn_over_all_pixels():
    chance = np.random.RandomState(0)
    shapes = (7, 5), (3, 11), (1, 4)
    labels = [chance.randint(0, 4, shape) for shape in shapes]
    predictions = [np.where(chance.rand(*shape) < .6, label, chance.randint(0, 4, shape))
                   for shape, label in zip(shapes, labels, strict=True)]
    for label in labels:
        label[chance.rand(*label.shape) < .2] = 255
    matrix = sum(confusion(torch.from_numpy(a.astype(np.uint8)), torch.from_numpy(b), 4)
                 for a, b in zip(labels, predictions, strict=True))
    counted = np.concatenate([label[label < 255] for label in labels])
    predicted = np.concatenate([prediction[label < 255] for label, prediction in
                                zip(labels, predictions, strict=True)])
    np.testing.assert_array_equal(matrix, confusion_matrix(counted, predicted))
    np.testing.assert_allclose(class_ious(matrix), jaccard_score(counted, predicted, average=None))


def test_a_class_that_nobody_sees_is_none_and_one_that_is_only_predicted_is_zero():
    ious = class_ious(confusion(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 2, 1]), 4))
    assert ious[:3].tolist() == [pytest.approx(2 / 3), 1, 0] and ious[3].isnan()


@pytest.mark.parametrize(('grid', 'size'), [((3, 5), (31, 23)), ((4, 2), (4, 2)),
                                            ((9, 7), (5, 3)), ((1, 1), (3, 2))])
@pytest.mark.parametrize('numbers', [1, 400, 2**26])
def test_upsampling_is_torchs_whatever_the_rows_at_a_time(grid, size, numbers, monkeypatch):
    monkeypatch.setattr(mean_iou, '_NUMBERS', numbers)
    logits = torch.randn(6, *grid, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0]
    found = upsampled_classes(logits, size)
    assert found.shape == size
    # Two classes that tie up to rounding may change places.
    reached = wanted.gather(0, found[None])[0]
    torch.testing.assert_close(reached, wanted.max(dim=0).values, rtol=0, atol=1e-5)
