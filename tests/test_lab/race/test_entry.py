"""What a contestant is given."""

import json

import numpy as np
import torch
from PIL import Image

from lab.race.entry import TIMED_STEPS, parse_entry, steps_in, timed, whole_images


def test_the_command_line_names_the_terms(tmp_path):
    (tmp_path / 'images.json').write_text(json.dumps(
        dict(folder='photographs', train=['a/1.jpg'], held_out=['b/2.jpg'], train_labels=[0])))
    entry, _ = parse_entry(argv=[
        '--images', str(tmp_path / 'images.json'), '--minutes', '.5', '--every', '7', '--out', 'x'])
    assert (entry.seconds, entry.every, entry.seed) == (30, 7, 0)
    assert (str(entry.folder), entry.train, entry.held_out) == (
        'photographs', ('a/1.jpg', ), ('b/2.jpg', ))


def test_whole_images_are_scaled_as_pillow_scales_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 71, 3), dtype=np.uint8)
    turned = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / 'a.png', exif=exif)
    found, = whole_images(tmp_path, ['a.png'])
    upright = turned.transpose(Image.Transpose.ROTATE_270)
    pixels = np.asarray(upright.resize((64, 64), Image.Resampling.BICUBIC)) / 255
    expected = (pixels - [.485, .456, .406]) / [.229, .224, .225]
    torch.testing.assert_close(found, torch.tensor(expected).permute(2, 0, 1).float())


def test_the_median_step_after_a_warm_up_sizes_the_schedule():
    # Three slow steps and one that was disturbed do not count.
    marks = np.cumsum([9, 9, 9, 9, .5, .5, .5, 30, .5, .5])
    assert steps_in(60, marks.tolist()) == 120
    assert steps_in(.1, marks.tolist()) == 1


def test_as_many_steps_are_timed_as_are_said():
    calls = []
    marks = timed(lambda: calls.append(1))
    assert len(calls) == len(marks) == TIMED_STEPS and marks == sorted(marks)
