"""sink_measures, against loops over images and patches and on synthetic sinks."""

import statistics

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.evaluation.sinks import sink_measures


def toys(images, patches, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, images, patches, generator=generator).double() + .01


@pytest.mark.parametrize('shape', [(1, 35), (7, 12), (3, 1)])
@pytest.mark.parametrize('times', [1.1, 2.])
def test_measures_are_those_of_a_loop(shape, times):
    norms, attention = toys(*shape)
    largest, outliers, on_them, peak = [], [], [], []
    for norm, given in zip(norms.tolist(), attention.tolist(), strict=True):
        middle = statistics.median(norm)
        largest.append(max(norm) / middle)
        high = [i for i, value in enumerate(norm) if value > times * middle]
        outliers.append(100 * len(high) / len(norm))
        on_them.append(100 * sum(given[i] for i in high) / sum(given))
        peak.append(100 * max(given) / sum(given))
    found = sink_measures(norms, attention, times)
    wanted = {'largest': largest, 'outliers': outliers, 'outlier_attention': on_them, 'peak': peak}
    assert found == pytest.approx({name: statistics.mean(each) for name, each in wanted.items()})


def test_a_sink_is_found():
    norms, attention = torch.ones(4, 50), torch.ones(4, 50)
    norms[:, 7], attention[:, 7] = 10, 50
    found = sink_measures(norms, attention)
    assert found == pytest.approx({'largest': 10, 'outliers': 2, 'outlier_attention': 5000 / 99,
                                   'peak': 5000 / 99})


def test_the_scale_of_attention_does_not_matter():
    norms, attention = toys(3, 20)
    assert sink_measures(norms, attention) == pytest.approx(sink_measures(norms, 7 * attention))


@pytest.mark.parametrize(('norms', 'attention', 'words'), [
    (torch.ones(3, 4), torch.ones(3, 5), r'^norms \(3, 4\) and attention \(3, 5\) do not fit'),
    (torch.ones(0, 4), torch.ones(0, 4), 'do not fit'),
    (torch.ones(2, 4), torch.tensor([[1.] * 4, [0.] * 4]), '^image 1 has'),
    (torch.zeros(1, 4), torch.ones(1, 4), '^image 0 has'),
    (torch.tensor([[1., float('nan')]]), torch.ones(1, 2), '^image 0 has'),
])
def test_unmeasurable_input_is_refused(norms, attention, words):
    with pytest.raises(InputError, match=words):
        sink_measures(norms, attention)
