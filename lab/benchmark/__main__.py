"""Time the training steps of several configs in turn, phase by phase.

The configs take turns within each round, so that a noisy machine disturbs all alike. Shown are
medians over the rounds, and medians of the ratios to the first config within a round.

A step is: preprocess + plan (the data preprocessor on a collated batch: copy to the device,
normalise, look maps up, resample, plan), forward, backward and the optimiser (the config's own).
On a GPU events in its stream tell the phases apart, and the host waits once, at the end.
Guided configs are in their guided phase, with made-up maps in a real store. mmpretrain's methods
mask inside the model, so that their masking is part of forward. Hooks do not run.

data: with --data, the config's own training pipeline reads and collates the images of each batch
in this process. Workers do that during the step in training, so it is not part of the step's time.
of the peak: multiply-adds of forward and backward (3 times the formula's forward) a second, over
those of a plain matrix product of the same type and threads, measured in the same round.
peak memory: parameters, moments of the optimiser and the most that a step adds. GPU: torch's
max_memory_allocated. CPU: torch's own allocations by its profiler, without scratch memory of the
matrix libraries.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
example:
  python -m lab.benchmark --batch-size 16 \\
    mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py \\
    configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help='files, or PACKAGE::FOLDER/NAME.py; the first is the reference')
    parser.add_argument('--batch-size', type=int, default=16, help='default: 16')
    parser.add_argument('--rounds', type=int, default=15, help='measured rounds (default: 15)')
    parser.add_argument('--warm-up', type=int, default=2, help='rounds before (default: 2)')
    parser.add_argument('--bf16', action='store_true',
                        help='autocast to bfloat16, whatever the configs say (default: fp32)')
    parser.add_argument('--processor-time', action='store_true',
                        help='count processor time, for a CPU that others use too; needs '
                        'OMP_NUM_THREADS=1 (default: time passed)')
    parser.add_argument('--data', metavar='FOLDER',
                        help='read images of this folder, or below it, in each step')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'),
                        help='write the tables to OUT.md and all rounds to OUT.json '
                        '(default: %(default)s)')
    args = parser.parse_args()
    if min(args.batch_size, args.rounds) < 1 or args.warm_up < 1:
        parser.error('--batch-size, --rounds and --warm-up must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import torch

from amt_mm.apis import launch
from lab.benchmark.batches import make_images
from lab.benchmark.clock import check_processor_time
from lab.benchmark.contestant import Contestant
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import race
from lab.benchmark.table import write_race


def main() -> None:
    """Measure and print the tables."""
    args = parse_args()
    with launch.one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        if args.processor_time:
            check_processor_time()
        launch.require_writable(args.out)
        scratch = Path(temporary)
        images = args.data or make_images(scratch / 'images')
        contestants = [Contestant(config, args.batch_size, images, scratch, args.data is not None,
                                  args.bf16) for config in args.configs]
        outcome = race(contestants, args.rounds, args.warm_up, args.bf16,
                       args.processor_time)
        memory = [peak_memory(each) for each in contestants]
        precision = 'bf16' if args.bf16 else 'fp32'
        markdown, data = write_race(args.out, contestants, outcome, memory, dict(
            configs=args.configs, images_a_step=args.batch_size, rounds=args.rounds,
            warm_up=args.warm_up, precision=precision, data=args.data,
            processor_time=args.processor_time))
        print(markdown.read_text())
        print(f'{args.rounds} rounds in turn, batch {args.batch_size}, {precision}, '
              f'{contestants[0].device.type}, {torch.get_num_threads()} threads, '
              f'{"processor time" if args.processor_time else "time passed"}. '
              f'Also in {markdown}; every round in {data}')


if __name__ == '__main__':
    main()
