"""Print what configs cost: tokens, multiply-adds by formula and counted, seconds a step.

The first config is the reference of all ratios. Multiply-adds are those of the forward
pass of one image, in the guided phase of a guided config; the share of saliency refreshes is
that of the whole run, a step counting three forward passes; seconds are those of forward
and backward of one batch, all configs measured in turn (see benchmark.py).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

import numpy as np
import torch
from mmengine.config import Config

from amt_mm.benchmark import Contestant, race, ratios
from amt_mm.benchmark.batches import make_images
from amt_mm.engine import comparison, launch
from amt_mm.engine.cost import cost
from amt_mm.engine.refresh_cost import refresh_hook, run_cost
from amt_mm.visualization import write_table

EXAMPLE = """
example:
  python tools/analysis_tools/cost_table.py --rounds 7 \\
    configs/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py \\
    configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help='files, or PACKAGE::FOLDER/NAME.py; the first is the reference')
    parser.add_argument('--rounds', type=int, default=0,
                        help='measured rounds; 0 (default) leaves seconds out')
    parser.add_argument('--batch-size', type=int, default=16, help='default: 16')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cost'),
                        help='write the table to OUT.md and OUT.json (default: %(default)s)')
    args = parser.parse_args()
    if args.rounds < 0 or args.batch_size < 1:
        parser.error('--rounds must be at least 0, --batch-size at least 1')
    return args


def refresh_share(cfg: Config) -> float | None:
    """Share of saliency refreshes in the whole run; None without, or without epochs."""
    hook = refresh_hook(cfg)
    return run_cost(cfg).share if hook and hook.by_epoch else None


def main() -> None:
    """Compute, measure and print."""
    args = parse_args()
    with launch.one_line_errors():
        launch.require_writable(args.out)
        configs = [comparison.resolved(config) for config in args.configs]
        costs = [cost(cfg) for cfg in configs]
        rows = [{'config': Path(config).stem, 'encoder': each.encoder_tokens,
                 'decoder': each.decoder_tokens or None, 'formula': each.formula / 1e9,
                 'counted': each.counted / 1e9, 'ratio': each.counted / costs[0].counted}
                for config, each in zip(args.configs, costs, strict=True)]
        columns = {'config': 'config', 'encoder': 'encoder tokens', 'decoder': 'decoder tokens',
                   'formula': 'GMAC by formula', 'counted': 'GMAC counted', 'ratio': 'ratio'}
        formats = {'formula': '.3f', 'counted': '.3f', 'ratio': '.3f'}
        shares = [refresh_share(cfg) for cfg in configs]
        if any(shares):
            for row, share in zip(rows, shares, strict=True):
                row['refresh'] = share
            columns['refresh'], formats['refresh'] = 'refreshes, of the run', '.2%'
        if args.rounds:
            with tempfile.TemporaryDirectory() as scratch:
                images = make_images(Path(scratch, 'images'))
                contestants = [Contestant(config, args.batch_size, images, Path(scratch))
                               for config in args.configs]
                times = race(contestants, args.rounds).network
            for row, median, ratio in zip(rows, np.median(times, axis=0), ratios(times),
                                          strict=True):
                row.update(seconds=median, measured=ratio)
            columns.update(seconds='s a step', measured='ratio measured')
            formats.update(seconds='.3f', measured='.3f')
        markdown, data = write_table(args.out, rows, columns, formats)
        print(markdown.read_text())
        if args.rounds:
            print(f'{args.rounds} rounds in turn, batch {args.batch_size}, fp32, '
                  f'{contestants[0].device.type}, {torch.get_num_threads()} threads.')
        print(f'Also in {markdown} and {data}')


if __name__ == '__main__':
    main()
