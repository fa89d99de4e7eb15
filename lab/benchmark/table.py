"""Write a race as two tables and a JSON file."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from amt_mm.json_files import plain_values
from amt_mm.version import __version__
from amt_mm.visualization.tables import markdown_table

from .clock import PHASES
from .contestant import Contestant
from .racing import Race, ratios

RESULTS = {'config': 'config', 'images': 'images/s', 'step': 's a step', 'low': 'lower quartile',
           'high': 'upper quartile', 'step_ratio': 'ratio, step',
           'network_ratio': 'ratio, forward + backward',
           'prepare_share': 'preprocess + plan, % of step', 'peak_share': 'of the peak, %',
           'memory': 'peak memory, GB'}
RESULT_FORMATS = {'images': '.1f', 'step': '.3f', 'low': '.3f', 'high': '.3f', 'step_ratio': '.3f',
                  'network_ratio': '.3f', 'prepare_share': '.2f', 'peak_share': '.0f',
                  'memory': '.2f'}
HEADINGS = dict(zip(PHASES, ('data', 'preprocess + plan', 'forward', 'backward', 'optimiser'),
                    strict=True))


def result_table(contestants: Sequence[Contestant], outcome: Race, memory: Sequence[int]
                 ) -> list[dict]:
    """One row per contestant: medians, and ratios to the first.

    Args:
        contestants: As they raced.
        outcome: The measurements.
        memory: Peak bytes of each.

    Returns:
        Rows with the columns of :data:`RESULTS` and, in milliseconds, of :data:`PHASES`.
    """
    low, median, high = np.quantile(outcome.step, [.25, .5, .75], axis=0)
    step_ratio, network_ratio = ratios(outcome.step), ratios(outcome.network)
    shares = np.median(outcome.seconds[:, :, PHASES.index('prepare')] / outcome.step, axis=0)
    phases = np.median(outcome.seconds, axis=0) * 1e3
    rows = []
    for i, each in enumerate(contestants):
        peak_share = None
        if each.multiply_adds is not None:
            peak_share = 100 * outcome.share_of_peak(i, each.multiply_adds * each.batch_size)
        rows.append({
            'config': each.name, 'images': each.batch_size / median[i], 'step': median[i],
            'low': low[i], 'high': high[i], 'step_ratio': step_ratio[i],
            'network_ratio': network_ratio[i], 'prepare_share': 100 * shares[i],
            'peak_share': peak_share, 'memory': memory[i] / 1e9,
            **dict(zip(PHASES, phases[i], strict=True))})
    return rows


def write_race(out: Path, contestants: Sequence[Contestant], outcome: Race,
               memory: Sequence[int], setting: dict) -> tuple[Path, Path]:
    """Write ``OUT.md``, two tables, and ``OUT.json``, which has every round too.

    Args:
        out: Path without suffix.
        contestants: As they raced.
        outcome: The measurements.
        memory: Peak bytes of each.
        setting: Further content of the JSON file: options of the run.

    Returns:
        The two paths.
    """
    rows = result_table(contestants, outcome, memory)
    results = [{name: row[name] for name in RESULTS} for row in rows]
    phases = [{name: row[name] for name in ('config', *PHASES)} for row in rows]
    text = markdown_table(results, RESULTS, RESULT_FORMATS) + '\n' + markdown_table(
        phases, {'config': 'milliseconds of', **HEADINGS}, dict.fromkeys(PHASES, '.1f'))
    device = contestants[0].device
    content = {
        **setting, 'device': device_name(device), 'threads': torch.get_num_threads(),
        'versions': versions(), 'peak_multiply_adds_a_second': outcome.peaks.tolist(),
        'contestants': [
            {**row, 'multiply_adds_an_image': each.multiply_adds, 'batch_size': each.batch_size,
             'peak_bytes': int(memory[i]),
             'seconds': dict(zip(PHASES, outcome.seconds[:, i].T.tolist(), strict=True))}
            for i, (row, each) in enumerate(zip(rows, contestants, strict=True))]}
    markdown, data = out.with_name(out.name + '.md'), out.with_name(out.name + '.json')
    out.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(text, encoding='utf-8')
    data.write_text(json.dumps(plain_values(content), indent=1) + '\n', encoding='utf-8')
    return markdown, data


def device_name(device: torch.device) -> str:
    """Model of the GPU, or the kind of CPU."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    for line in _cpuinfo():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    path = Path('/proc/cpuinfo')
    return path.read_text().splitlines() if path.is_file() else []


def versions() -> dict[str, str]:
    """Versions of torch and other libraries."""
    found = {'amt_mm': __version__, 'python': platform.python_version(), 'torch': torch.__version__}
    for name in ('mmengine', 'mmcv', 'mmpretrain'):
        for distribution in (f'onedl-{name}', name):
            try:
                found[name] = version(distribution)
                break
            except PackageNotFoundError:
                continue
    return found
