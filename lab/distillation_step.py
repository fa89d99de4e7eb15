"""Time a step of iBOT and the sum of its parts, and by masking strategy.

In each round every part is done alone, and a whole step is taken with each strategy: gradients are
clipped, the optimiser steps and the teacher follows. Shown are medians over the rounds; ratios are
medians of those within a round. Every step masks as many tokens as training on average, the same
number in each crop. Hooks that compute nothing of the method (checks, logs) do not run.

Memory: what stays between steps, what the forward pass keeps for the backward pass (tensors that
autograd saves), and the peak of a step. CPU: torch's own allocations by its profiler.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from amt_mm.cli import parse_first

STRATEGIES = ('random', 'block', 'high', 'hint')
EXAMPLE = """
example:
  OMP_NUM_THREADS=1 python -m lab.distillation_step --processor-time \\
    configs/attmask/ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py
"""
PARTS = {'part': 'part', 'time': 'ms', 'share': 'of the step, %'}
MASKS = {'masks': 'masks', 'step': 's a step', 'ratio': 'ratio', 'low': 'lower quartile',
         'high': 'upper quartile', 'alone': 'attention + masks, ms', 'share': 'of the step, %'}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of amt_mm.IBOT with masks')
    parser.add_argument('--batch-size', type=int, default=4, help='images a step (default: 4)')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds (default: 9)')
    parser.add_argument('--processor-time', action='store_true',
                        help='count processor time, as of benchmark.py; set OMP_NUM_THREADS=1')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/distillation_step'),
                        help='write OUT_parts and OUT_masks, .md and .json (default: %(default)s)')
    args = parser.parse_args()
    if min(args.batch_size, args.rounds) < 1:
        parser.error('--batch-size and --rounds must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import numpy as np
import torch

from amt_mm.apis import launch
from amt_mm.visualization import write_table
from lab.benchmark.batches import make_images
from lab.benchmark.clock import check_processor_time
from lab.benchmark.distillation import DistillationStep
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import race


def parts_table(names: list[str], parts: np.ndarray, step: np.ndarray) -> list[dict]:
    """A row per part, their sum, the step itself.

    Args:
        names: Of the parts.
        parts: Seconds, ``(rounds, parts)``.
        step: Seconds, ``(rounds,)``.
    """
    seconds = [*parts.T, parts.sum(axis=1), step]
    return [{'part': name, 'time': 1e3 * np.median(each), 'share': 100 * np.median(each / step)}
            for name, each in zip([*names, 'sum', 'whole step'], seconds, strict=True)]


def masks_table(steps: np.ndarray, masks: np.ndarray) -> list[dict]:
    """A row per strategy, ratios to the first; both ``(rounds, strategies)`` in seconds."""
    ratios = steps / steps[:, :1]
    low, middle, high = np.quantile(ratios, [.25, .5, .75], axis=0)
    return [{'masks': name, 'step': np.median(steps[:, i]), 'ratio': middle[i], 'low': low[i],
             'high': high[i], 'alone': 1e3 * np.median(masks[:, i]),
             'share': 100 * np.median(masks[:, i] / steps[:, i])}
            for i, name in enumerate(STRATEGIES)]


def main() -> None:
    """Measure and print both tables."""
    args = parse_args()
    with launch.one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        if args.processor_time:
            check_processor_time()
        launch.require_writable(args.out)
        scratch = Path(temporary)
        step = DistillationStep(args.config, args.batch_size, make_images(scratch / 'images'),
                                scratch)
        own = step.model.masking.strategy
        parts = step.parts(own)
        seconds = race([*parts, *step.steps([own, *STRATEGIES]), *step.masks(STRATEGIES)],
                       args.rounds, processor_time=args.processor_time).seconds[:, :, 0]
        pieces, whole, steps, masks = np.split(
            seconds, np.cumsum([len(parts), 1, len(STRATEGIES)]), axis=1)
        peak, kept, state = peak_memory(step), step.kept_bytes(), step.state_bytes()
        for suffix, rows, columns in (
                ('parts', parts_table([part.name for part in parts], pieces, whole[:, 0]), PARTS),
                ('masks', masks_table(steps, masks), MASKS)):
            formats = {name: '.3f' if name in ('step', 'ratio', 'low', 'high') else '.1f'
                       for name in list(columns)[1:]}
            print(write_table(args.out.with_name(f'{args.out.name}_{suffix}'), rows, columns,
                              formats)[0].read_text())
        low, ratio, high = np.quantile(whole[:, 0] / pieces.sum(axis=1), [.25, .5, .75])
        print(f'whole step / sum of its parts: {ratio:.3f}, quartiles {low:.3f} and {high:.3f}')
        print(f'memory: {state / 1e6:.0f} MB between steps + {kept / 1e6:.0f} MB kept for the '
              f'backward pass = {(state + kept) / 1e6:.0f} MB; peak {peak / 1e6:.0f} MB, ratio '
              f'{peak / (state + kept):.3f}')
        print(f'{args.rounds} rounds in turn, batch {args.batch_size}, fp32, {step.device.type}, '
              f'{torch.get_num_threads()} threads, masks of the parts: {own}. Also in '
              f'{args.out}_parts and {args.out}_masks, .md and .json')


if __name__ == '__main__':
    main()
