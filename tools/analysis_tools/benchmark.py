"""Time one training step's forward and backward of several configs, in turn.

The configs take turns within each round, so that a noisy machine disturbs all alike;
medians and quartiles over the rounds, and each median as a ratio to the first config's.
Guided configs are timed in their guided phase, with made-up saliency maps; making the
plan is part of the step. Synthetic images: loading is not measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

import numpy as np
import torch

from amt_mm.engine import launch
from amt_mm.engine.timing import Contestant, race, ratios
from amt_mm.visualization import write_table

EXAMPLE = """
example:
  python tools/analysis_tools/benchmark.py --batch-size 16 \\
    configs/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py \\
    configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files; the first is the reference')
    parser.add_argument('--batch-size', type=int, default=16, help='default: 16')
    parser.add_argument('--rounds', type=int, default=15, help='measured rounds (default: 15)')
    parser.add_argument('--warm-up', type=int, default=2, help='rounds before (default: 2)')
    parser.add_argument('--bf16', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--out', type=Path, help='write the table to OUT.md and OUT.json')
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    args = parse_args()
    with launch.one_line_errors():
        for config in args.configs:
            launch.require_file(config, 'config')
        contestants = [Contestant(config, args.batch_size) for config in args.configs]
        times = race(contestants, args.rounds, args.warm_up, args.bf16)
    low, median, high = np.quantile(times, [.25, .5, .75], axis=0)
    ratio = ratios(times)
    rows = [{'config': each.name, 'median': median[i], 'low': low[i], 'high': high[i],
             'ratio': ratio[i], 'images': args.batch_size / median[i]}
            for i, each in enumerate(contestants)]
    columns = {'config': 'config', 'median': 's a step', 'low': 'lower quartile',
               'high': 'upper quartile', 'ratio': 'ratio', 'images': 'images/s'}
    formats = {'median': '.3f', 'low': '.3f', 'high': '.3f', 'ratio': '.3f', 'images': '.1f'}
    out = args.out or Path('work_dirs/benchmark')
    markdown, data = write_table(out, rows, columns, formats)
    print(markdown.read_text())
    print(f'{args.rounds} rounds in turn, batch {args.batch_size}, '
          f'{"bf16" if args.bf16 else "fp32"}, {contestants[0].device.type}, '
          f'{torch.get_num_threads()} threads. Also in {markdown} and {data}')


if __name__ == '__main__':
    main()
