"""The sentences of the quickstart, and the intervals in them."""

import numpy as np
import pytest

from amt_mm.apis.verdict import margin, verdict

RESULTS = {
    'no training': dict(knn=20., linear_mean=30., test_images=400, attention_on_object=21.,
                        object_area=20.),
    'MAE': dict(knn=40., linear_mean=52., test_images=400, attention_on_object=24.,
                object_area=20.),
    'recommended': dict(knn=60., linear_mean=55., test_images=400, attention_on_object=33.,
                        object_area=20.)}


@pytest.mark.parametrize(('one', 'other', 'images'), [(20, 60, 150), (50, 50, 333), (97, 99, 1000)])
def test_the_margin_holds_95_of_100_differences(one, other, images):
    chance = np.random.default_rng(0)
    differences = 100 * (chance.binomial(images, one / 100, 20_000)
                         - chance.binomial(images, other / 100, 20_000)) / images
    within = np.abs(differences - (one - other)) <= margin(one, other, images)
    assert .93 < within.mean() < .97


def test_it_compares_with_no_training_and_with_the_reference():
    lines = verdict(RESULTS, 'no training', 'MAE')
    assert [line.partition(':')[0] for line in lines] == [
        'MAE beside no training', 'recommended beside no training', 'recommended beside MAE',
        'MAE', 'recommended', 'The intervals (95 %) are those of 400 test images; another seed '
        'moves the figures, too.']
    # 1.96 sqrt((.6 * .4 + .4 * .6) / 400) = .0679; (.55 * .45 + .52 * .48) -> .0691
    assert lines[2] == ('recommended beside MAE: k-NN +20.0 ± 6.8 points; the linear probe '
                        '+3.0 ± 6.9 points, no difference that this run can show.')
    assert lines[4] == ('recommended: 33 % of the attention is on the object, which covers 20 % of '
                        'the image (untrained: 21 %).')


def test_without_classes_nothing_is_claimed():
    line, = verdict({'no training': {}, 'MAE': {}}, 'no training', 'MAE')
    assert 'no classes' in line
