import logging

import numpy as np
import pytest
from conftest import noise_images


@pytest.fixture
def said(toy_runner, toy_mae, toy_images):
    """Train two steps and give the warnings about pixels."""

    def make(images=None, **statistics):
        model = toy_mae(build=False)
        model['data_preprocessor'].update(statistics)
        runner = toy_runner(model=model, dataset=images and toy_images(images), epochs=1)
        lines, handler = [], logging.Handler(logging.WARNING)
        handler.emit = lambda record: lines.append(record.getMessage())
        runner.logger.addHandler(handler)
        runner.train()
        return [line for line in lines if 'do not fit the images' in line]

    return make


@pytest.mark.parametrize(('mean', 'std', 'fits'), [
    ([120.0, 110, 100], [60.0, 50, 40], True), ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], True),
    ([.485, .456, .406], [.229, .224, .225], False),
    ([120.0, 110, 100], [6000.0, 5000, 4000], False)])
def test_statistics_of_another_scale_are_named_once(said, mean, std, fits):
    assert len(said(mean=mean, std=std)) == (0 if fits else 1)


def test_values_of_another_scale_are_named(said):
    line, = said([(image / 255).astype(np.float32) for image in noise_images(8)])
    assert 'has a mean of -2' in line
