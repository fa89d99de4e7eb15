"""The tests that need a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from .check import Failed

ROOT = Path(__file__).parents[2]
_MARK = 'pytest.mark.gpu'


def run_tests(seconds: float) -> dict:
    """Run the tests with the mark ``gpu``; cells of the table.

    Args:
        seconds: After which they have failed.

    Raises:
        Failed: A test fails, all are skipped beside a GPU, or the time is over.
    """
    files = [str(path) for path in sorted((ROOT / 'tests').rglob('test_*.py'))
             if _MARK in path.read_text(encoding='utf-8')]
    try:
        done = subprocess.run([sys.executable, '-m', 'pytest', '-m', 'gpu', '-n0', *files],
                              cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Failed(f'no result after {seconds:.0f} s') from error
    last = done.stdout.strip().rpartition('\n')[2]
    if done.returncode or (torch.cuda.is_available() and 'passed' not in last):
        raise Failed(last or done.stderr.strip().rpartition('\n')[2])
    return dict(outcome=last)
