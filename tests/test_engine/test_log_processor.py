"""Log lines say images a second, loss and the time that is left."""

import json
import re
from pathlib import Path

import pytest
from mmengine.runner import LogProcessor

from amt_mm.engine.log_processor import SpeedLogProcessor


def log_of(runner):
    """What is recorded of each step, and the lines of the log file."""
    runner.train()
    folder = Path(runner.log_dir)
    records = map(json.loads, (folder / 'vis_data/scalars.json').read_text().splitlines())
    lines = re.findall('Epoch.train.*', (folder / f'{runner.timestamp}.log').read_text())
    return [record for record in records if 'loss' in record], lines


def test_each_line_has_speed_loss_and_what_is_left(toy_runner):
    runner = toy_runner(epochs=2, log_level='INFO', default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1)))
    scalars, lines = log_of(runner)
    assert len(scalars) == len(lines) == 6
    for record, line in zip(scalars, lines, strict=True):
        # Batches of 3; the last is counted as one, too.
        assert record['images_per_second'] == pytest.approx(3 / record['time'])
        assert re.search(r'eta: \d+:\d\d:\d\d  images/s: [\d.e+]+  time: .*loss: \d', line), line


@pytest.mark.parametrize(('given', 'kind'), [
    (dict(window_size=7), SpeedLogProcessor),
    (dict(type='LogProcessor', by_epoch=False), SpeedLogProcessor),
    (LogProcessor(), LogProcessor)])
def test_only_mmengines_is_replaced(toy_runner, given, kind):
    built = toy_runner(log_processor=given).log_processor
    assert type(built) is kind
    assert built.window_size == (given.get('window_size', 10) if isinstance(given, dict) else 10)
