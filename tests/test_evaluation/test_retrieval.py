"""Average precision of rankings: by hand, and as the area under the drawn curve."""

import numpy as np
import pytest
import torch

from amt_mm.evaluation.retrieval import ranked_measures


def measured(ranking, ks=(1, 5)):
    """Of a ranking such as 'r-j': relevant, other and junk images."""
    places = np.array(list(ranking))
    return ranked_measures(torch.from_numpy(places == 'r')[None],
                           torch.from_numpy(places == 'j')[None], ks)[0].tolist()


@pytest.mark.parametrize(('ranking', 'ap', 'p1', 'p5'), [
    ('rr---', 1, 1, 1),  # precision at 5 ends at the last relevant image
    ('-r', 1 / 4, 0, 1 / 2),
    ('r-r-', (1 + (1 / 2 + 2 / 3) / 2) / 2, 1, 2 / 3),
    ('jjr-jr--', (1 + (1 / 2 + 2 / 3) / 2) / 2, 1, 2 / 3),
    ('------r', 1 / 14, 0, 0)])
def test_rankings_of_known_precision(ranking, ap, p1, p5):
    assert measured(ranking) == pytest.approx([ap, p1, p5])


def test_a_query_without_relevant_images_has_no_measure():
    assert np.isnan(measured('--j-')).all()


def test_it_is_the_area_under_the_curve():
    chance = np.random.RandomState(0)
    kinds = chance.choice(list('rj-'), (20, 57), p=[.2, .3, .5])
    found = ranked_measures(torch.from_numpy(kinds == 'r'), torch.from_numpy(kinds == 'j'), (7, ))
    for row, (ap, p7) in zip(kinds, found.tolist(), strict=True):
        kept = row[row != 'j']
        total, hits, recall, precision = (kept == 'r').sum(), 0, [0.], [1.]
        for place, kind in enumerate(kept, 1):
            hits += kind == 'r'
            recall.append(hits / total)
            precision.append(hits / place)
        assert ap == pytest.approx(np.trapezoid(precision, recall))
        depth = min(7, 1 + int(np.flatnonzero(kept == 'r')[-1]))
        assert p7 == pytest.approx(np.mean(kept[:depth] == 'r'))
