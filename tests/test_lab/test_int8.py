"""lab.int8: what is encoded is what an exported program takes, and both programs are timed."""

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('onnxruntime')

from lab import int8  # noqa: E402


class Program:
    """In place of a session: the mean of each channel."""

    def run(self, names, given):
        assert names == ['features']
        return [given['pixels'].mean(axis=(2, 3))]


class Loaded:
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def test_pixels_are_rgb_and_features_follow_the_folder(tmp_path):
    colours = {'blue': (255, 0, 0), 'red': (0, 0, 255)}  # BGR
    for name, colour in colours.items():
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / 'a.png'), np.full((6, 9, 3), colour, np.uint8))
    found = int8.encode(Loaded(), {'fp32': Program()}, tmp_path)['fp32']
    assert found.labels.tolist() == [0, 1]
    assert torch.equal(found.features['mean'], torch.tensor([[0., 0, 255], [255, 0, 0]]))
    assert int8.times(Loaded(), {'fp32': Program(), 'int8': Program()}, tmp_path).keys() == {
        'fp32', 'int8'}
