"""Check what only a GPU can tell, within minutes, and print one table.

One GPU of 80 GB is enough. In this order: the peak of a matrix product, measured; the tests with
the mark `gpu`; whether a guided step makes the host wait for the device; a refresh of saliency,
scaled to 50,000 images; k-NN, compared with the CPU's; steps of MAE, MAE + AMT, SimMIM, iBOT and
mmpretrain's MAE with ViT-B, ViT-S and ViT-L in bf16, each at the largest batch that memory allows
(halved until it fits); the input pipeline beside what the fastest step takes; the same steps in
fp32, then compiled in bf16. A check begins if as much time is left as the longest before it took;
the others are in the table as skipped.

images/s and ratio are of a whole step, with planning and optimiser; the ratio is to mmpretrain's
MAE of the same size and precision (compiled: to its bf16). of the peak: multiply-adds of forward
and backward by formula, over those of the matrix product in the same round.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLES = """
examples:
  make gpu-check
  python -m lab.gpu_check --minutes 30 --data data/imagenet/val
  python -m lab.gpu_check --toy --out work_dirs/toy     # tiny networks, also without a GPU

Exit status: 0, 1 if a check failed (the table says why), 2 if it is refused (no GPU).
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser('python -m lab.gpu_check', description=__doc__,
                                     epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=12,
                        help='for all checks (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=512,
                        help='largest batch of a step (default: %(default)s)')
    parser.add_argument('--workers', type=int,
                        help='processes of the input pipeline (default: one for each core, less '
                        'one)')
    parser.add_argument('--data', metavar='FOLDER', help='64 photographs or more for the input '
                        'pipeline (default: artificial JPEGs of the same size)')
    parser.add_argument('--toy', action='store_true',
                        help='tiny networks and numbers: whether the checks run, also without GPU')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'),
                        help='write the table to OUT.md and OUT.json (default: %(default)s)')
    args = parser.parse_args()
    if args.minutes <= 0 or args.batch_size < 1 or (args.workers or 0) < 0:
        parser.error('--minutes and --batch-size must be positive, --workers 0 or more')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from amt_mm.apis import launch
from amt_mm.errors import InputError
from amt_mm.visualization.tables import markdown_table
from lab.benchmark.batches import make_images
from lab.benchmark.clock import clock_of
from lab.benchmark.contestant import Contestant
from lab.benchmark.jpegs import make_jpegs
from lab.benchmark.racing import MatrixProduct
from lab.benchmark.table import device_name, versions
from lab.gpu_check.check import Check, run_checks
from lab.gpu_check.features import measure_knn, measure_refresh
from lab.gpu_check.marked_tests import run_tests
from lab.gpu_check.pipeline import measure_pipeline
from lab.gpu_check.steps import METHODS, PRECISIONS, SIZES, TOY, Steps
from lab.gpu_check.waiting import NoClock, check_waiting

COLUMNS = {'check': 'check', 'what': 'of', 'outcome': 'outcome', 'batch': 'batch',
           'images': 'images/s', 'ms': 'ms a step', 'ratio': "speed / mmpretrain's MAE",
           'peak': 'of the peak, %', 'memory': 'peak memory, GB'}
FORMATS = {'images': ',.0f', 'ms': '.1f', 'ratio': '.2f', 'peak': '.0f', 'memory': '.1f'}
JPEGS, GUIDED = 64, 'MAE + AMT'


@dataclass(frozen=True)
class Amounts:
    """How much is measured: for a GPU of 80 GB, and as a toy.

    Attributes:
        sizes: Of networks, the first for what is checked at one size.
        batch_size: Largest batch.
        rounds: Measured steps.
        refreshed: Images of a refresh.
        features: Of k-NN, to search among and to classify.
        reading: Seconds for which the input pipeline is watched.
        product: Side of the matrices whose product is the peak; None for the device's own.
    """

    sizes: dict
    batch_size: int
    rounds: int = 12
    refreshed: int = 4096
    features: tuple[int, int] = (200_000, 10_000)
    reading: float = 10
    product: int | None = None


def check_list(amounts: Amounts, images: Path, jpegs: Path, scratch: Path, workers: int,
               seconds: float) -> Iterator[Check]:
    """List all checks, the most important first."""
    steps = Steps(images, scratch, amounts.sizes, amounts.rounds, amounts.batch_size,
                  amounts.product)
    size = next(iter(amounts.sizes))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    def product(bf16: bool) -> dict:
        speed = MatrixProduct(device, bf16, clock_of(device), amounts.product).speed()
        return dict(outcome=f'{2 * speed / 1e12:.2f} Tflop/s')

    def waiting() -> dict:
        made = Contestant(steps.config(size, GUIDED), min(64, amounts.batch_size), images, scratch,
                          bf16=True)
        return check_waiting(lambda: made.step(NoClock()))

    def step(precision: str) -> Iterator[Check]:
        for name in amounts.sizes:
            for method, (_, _, compiles) in METHODS.items():
                if precision != 'compiled' or compiles:
                    yield Check('step', f'{name}, {method}, {precision}',
                                lambda name=name, method=method: steps.measure(
                                    name, method, precision))

    for bf16 in (True, False):
        yield Check('matrix product', 'bf16' if bf16 else 'fp32', lambda bf16=bf16: product(bf16))
    yield Check('tests', 'marked gpu', lambda: run_tests(seconds / 3))
    yield Check('waiting', f'a guided step, {size}, bf16', waiting)
    yield Check('refresh', f'{size}, bf16', lambda: measure_refresh(
        steps.config(size, GUIDED), amounts.refreshed, min(256, amounts.batch_size)))
    yield Check('k-NN', '768 numbers, k = 20', lambda: measure_knn(*amounts.features))
    bf16, *others = PRECISIONS
    yield from step(bf16)
    yield Check('input pipeline', 'fast, StagedDataset', lambda: measure_pipeline(
        jpegs, workers, min(256, amounts.batch_size), amounts.reading, steps.speeds))
    for precision in others:
        yield from step(precision)


def write_checks(out: Path, lines: Sequence[dict], setting: dict) -> str:
    """Write ``OUT.md`` and ``OUT.json``; return the table."""
    rows = [{name: line.get(name) for name in COLUMNS} for line in lines]
    text = markdown_table(rows, COLUMNS, FORMATS)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(f'{out.name}.md').write_text(text, encoding='utf-8')
    out.with_name(f'{out.name}.json').write_text(
        json.dumps({**setting, 'checks': list(lines)}, indent=1) + '\n', encoding='utf-8')
    return text


def main() -> None:
    """Check, print the table, and end with 1 if a check failed."""
    args = parse_args()
    with launch.one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        if not (args.toy or torch.cuda.is_available()):
            raise InputError('no GPU is found: run this on a machine with one, or give --toy to '
                             'see whether the checks run')
        launch.require_writable(args.out)
        scratch = Path(temporary)
        images, jpegs = make_images(scratch / 'images', JPEGS), scratch / 'jpegs'
        jpegs.mkdir()
        make_jpegs(args.data or images, jpegs, 4 if args.toy else JPEGS, (500, 375), 46_000)
        amounts = (Amounts(TOY, 2, 2, 4, (300, 40), .1, 64) if args.toy
                   else Amounts(SIZES, args.batch_size))
        cores = len(os.sched_getaffinity(0))
        workers = (max(1, cores - 1) if args.workers is None else args.workers)
        checks = list(check_list(amounts, images, jpegs, scratch, workers, 60 * args.minutes))
        lines = list(tqdm(run_checks(checks, 60 * args.minutes), 'checks', len(checks),
                          disable=None))
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        print(write_checks(args.out, lines, dict(
            device=device_name(device), versions=versions(), minutes=args.minutes, toy=args.toy)))
        print(f'{device_name(device)}, torch {torch.__version__}. Also in {args.out}.md; times and '
              f'versions in {args.out}.json')
    if any(line['failed'] for line in lines):
        sys.exit(1)


if __name__ == '__main__':
    main()
