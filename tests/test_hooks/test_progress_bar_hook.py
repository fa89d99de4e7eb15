"""ProgressBarHook: progress on a terminal only."""

import re
import statistics
import sys
import warnings

import pytest
import torch

from amt_mm.hooks import ProgressBarHook


@pytest.fixture
def train(toy_runner, capsys, monkeypatch):
    """Train with the bar and return what reached stdout and stderr."""

    def run(terminal=True, **settings):
        capsys.readouterr()
        monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal, raising=False)
        runner = toy_runner(hooks=[ProgressBarHook(interval=1)], **settings)
        handlers = list(runner.logger.handlers)
        runner.train()
        assert runner.logger.handlers == handlers
        return capsys.readouterr()

    return run


def test_it_counts_every_step_and_shows_epoch_and_loss(train):
    shown = train(epochs=2).err
    assert re.search(r'epoch 2/2.*\b6/6\b.*loss=\d+\.\d{4}', shown)
    assert float(re.findall(r'loss=([\d.]+)', shown)[-1]) > 0


def test_a_run_without_epochs_shows_none(train):
    shown = train(train_cfg=dict(type='IterBasedTrainLoop', max_iters=4)).err
    assert '4/4' in shown and 'epoch' not in shown


def test_it_shows_images_a_second(train):
    """Of steps with 3 images, as tqdm counts steps; the first has no time yet."""
    shown = train(epochs=3).err
    both = re.findall(r'([\d.]+)step/s, loss=[\d.]+, images/s=([\d.]+)', shown)
    assert len(both) > 3
    # The two are shown one after the other, and a busy machine may slow down in between.
    ratio = statistics.median(float(images) / float(steps) for steps, images in both[1:])
    assert ratio == pytest.approx(3, rel=.5)


def test_a_resumed_run_starts_where_it_stopped(train):
    train(epochs=1)
    steps = [int(n) for n in re.findall(r'\b(\d)/6\b', train(epochs=2, resume=True).err)]
    assert steps[0] == 3 and steps[-1] == 6


def test_nothing_is_drawn_without_a_terminal(train):
    assert '/3' not in train(terminal=False, epochs=1).err


def test_the_log_level_stays_what_it_was(train):
    # The toy runner asks for warnings; a bar must not add lines that nobody asked for.
    assert 'INFO' not in train(epochs=1).out


def test_reading_the_loss_raises_no_warning(train):
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('error', message='Converting a tensor with requires_grad')
            train(epochs=1)
    finally:
        torch.set_warn_always(False)
