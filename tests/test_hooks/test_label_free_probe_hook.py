"""LabelFreeProbeHook: what it measures, of which images, and where it says so.

Its schedule and that it leaves training alone: test_knn_probe_hook.py.
"""

import pytest
import torch
from conftest import ToyImages
from labelled_toys import WHOLE
from mmengine.hooks import Hook
from mmengine.registry import DATASETS

from amt_mm.errors import InputError
from amt_mm.evaluation.label_free import rankme, uniformity
from amt_mm.hooks import LabelFreeProbeHook


@pytest.fixture(autouse=True)
def unlabelled(toy_images):
    images = toy_images(12).images

    class Unlabelled(ToyImages):
        def __init__(self):
            super().__init__(images, WHOLE, serialize_data=False)

    DATASETS.register_module(name='ToyUnlabelled', module=Unlabelled, force=True)
    yield
    DATASETS.module_dict.pop('ToyUnlabelled')


class Curve(Hook):
    def before_run(self, runner):
        self.points, self.said = [], []
        runner.visualizer.add_scalars = lambda scalars, step: self.points.extend(
            [(step, scalars)] if 'label_free/seconds' in scalars else [])
        runner.logger.info = lambda text, *args: self.said.append(text)


def probed(toy_runner, name='run', **changes):
    curve, hook = Curve(), LabelFreeProbeHook(dict(type='ToyUnlabelled'), interval=1, **changes)
    runner = toy_runner(name, [curve, hook], epochs=2)
    runner.train()
    return runner, curve, hook


def test_images_without_labels_are_measured_with_the_weights_of_that_epoch(toy_runner, toy_mae):
    runner, curve, hook = probed(toy_runner)
    model = toy_mae()
    for epoch, (step, scalars) in enumerate(curve.points, start=1):
        assert step == 3 * epoch and len(scalars) == 7
        state = torch.load(f'{runner.work_dir}/epoch_{epoch}.pth', weights_only=False)
        model.load_state_dict(state['state_dict'])
        images = torch.stack([hook._images[i]['inputs'] for i in range(12)])
        with torch.no_grad():
            tokens = model.eval().backbone(model.data_preprocessor.normalize(images))[-1]
        for pooling, part in (('cls', tokens[:, 0]), ('mean', tokens[:, 1:].mean(1))):
            for name, value in (('rankme', rankme(part)), ('uniformity', uniformity(part))):
                assert scalars[f'label_free/{pooling}_{name}'] == pytest.approx(value, rel=1e-3)
            assert 0 < scalars[f'label_free/{pooling}_alignment'] < 4
    assert epoch == 2
    line, = [text for text in curve.said if 'after 1 epochs' in text]
    value = curve.points[0][1]['label_free/cls_rankme']
    assert line.startswith(f'Label-free measures after 1 epochs: cls_rankme {value:.3f}, ')
    assert '(12 images, ' in line


def test_the_same_images_are_drawn_and_cropped_in_every_run(toy_runner):
    curves = [probed(toy_runner, f'run{i}', max_images=5, batch_size=size)
              for i, size in enumerate((2, 5))]
    (_, first, hook), (_, second, _) = curves
    assert len(hook._images) == 5 and hook._images.indices != [0, 1, 2, 3, 4]
    for (_, one), (_, other) in zip(first.points, second.points, strict=True):
        one.pop('label_free/seconds')
        assert one == pytest.approx({name: other[name] for name in one}, rel=1e-3)


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(max_images=1), 'max_images=1'), (dict(interval=0), 'interval=0'),
    (dict(encoder='ema'), "LabelFreeProbeHook.encoder='ema' is unknown")])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LabelFreeProbeHook(dict(type='ToyUnlabelled'), **settings)
