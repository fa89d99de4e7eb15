"""The clock stands still while features are taken, and features are means of patch tokens."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lab.race.entry import Entry
from lab.race.record import FINISHED, Record, Stopwatch, records


class Clock:
    """A time that passes only as it is told."""

    time = 100.

    def __call__(self):
        return self.time


@pytest.fixture
def entry(tmp_path):
    for number in range(5):
        Image.new('RGB', (30 + number, 41), (40 * number, 0, 255)).save(tmp_path / f'{number}.png')
    return Entry(tmp_path, ('0.png', '1.png', '2.png'), ('3.png', '4.png'), 1, 10, 0,
                 tmp_path / 'run')


def test_the_stopwatch_stands_still_while_paused():
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.paused():
        clock.time += 1000  # before the start
    assert watch.seconds == 0
    watch.start()
    clock.time += 3
    with watch.paused():
        clock.time += 500
        assert watch.seconds == 3
    clock.time += 4
    assert watch.seconds == 7


def test_records_are_due_by_training_time_alone(entry):
    clock, model = Clock(), nn.Linear(2, 2)

    def slow(images):
        clock.time += 60
        return images.flatten(2).mT  # (B, H W, 3)

    record = Record(entry, model, slow, clock)
    record.begin()
    for _ in range(13):
        clock.time += 4
        record.step()
    record.end(7, ['torch'])
    # Due at 10, 20, 30, 40 and 50 s of training, seen after the step that passes it.
    seconds = [float(np.load(file)['seconds']) for file in records(entry.out)]
    assert seconds == [0, 12, 20, 32, 40, 52, 52]
    finished = json.loads((entry.out / FINISHED).read_text())
    assert (finished['seconds'], finished['steps'], finished['batch']) == (52, 13, 7)
    assert finished['versions']['torch'] == torch.__version__


def test_features_are_means_over_tokens_of_whole_images(entry):
    model = nn.Dropout(.5)
    record = Record(entry, model, lambda images: model(images.flatten(2).mT))
    record.begin()
    assert model.training
    found = np.load(records(entry.out)[0])
    mean, std = np.array([.485, .456, .406]), np.array([.229, .224, .225])
    # Images of one colour have one token value, which is that of evaluation.
    expected = (np.array([[40 * n / 255, 0, 1] for n in range(5)]) - mean) / std
    np.testing.assert_allclose(found['train'], expected[:3], rtol=1e-5)
    np.testing.assert_allclose(found['held_out'], expected[3:], rtol=1e-5)
    assert found['train'].dtype == np.float32


def test_a_run_begun_anew_forgets_the_records_of_the_last(entry):
    for _ in range(2):
        Record(entry, nn.Identity(), lambda images: images.flatten(2).mT).begin()
        assert len(records(entry.out)) == 1
        (entry.out / 'features/0007.npz').touch()
