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


def test_a_sentence_for_each_recipe_the_reference_last():
    lines = verdict(RESULTS, 'no training', 'MAE', {'MAE': .2, 'recommended': .15})
    # 1.96 sqrt((.6 * .4 + .2 * .8) / 400) = .0620, ... + .4 * .6 -> .0679; for the linear probe
    # .55 * .45 with .3 * .7 -> .0663, and with .52 * .48 -> .0691
    assert lines[0] == (
        'recommended: k-NN 60.0 %, +40.0 ± 6.2 against no training and +20.0 ± 6.8 against MAE; '
        'linear probe 55.0 %, +25.0 ± 6.6 against no training and +3.0 ± 6.9 against MAE (no '
        'difference that this run can show); 33 % of the attention on the object, which covers '
        '20 % of the image; a step takes 0.75 of the time of one of MAE.')
    assert lines[1].startswith('MAE: k-NN 40.0 %, +20.0 ± 6.2 against no training; linear probe')
    assert lines[2].startswith('± is the 95 % interval of a difference on 400 test images')
    assert len(lines) == 3


def test_one_recipe_is_compared_with_no_training_alone():
    results = {name: RESULTS[name] for name in ('no training', 'recommended')}
    first, _ = verdict(results, 'no training', 'recommended')
    assert first.count('against') == 2 and 'a step' not in first


def test_without_classes_nothing_is_claimed():
    line, = verdict({'no training': {}, 'MAE': {}}, 'no training', 'MAE')
    assert 'no classes' in line
