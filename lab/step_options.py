"""Time a config's guided step with options that change its time or memory.

All take steps in turn within each round; ratios are medians of those within a round, relative to
the first row. Phases, memory and artificial data are those of lab/benchmark.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from amt_mm.cli import parse_first

OPTIONS = ('fused', 'bf16', 'with_cp', 'compile')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a host of amt_mm')
    parser.add_argument('--rows', nargs='+', metavar='OPTION[+OPTION]',
                        default=['none', 'fused', 'fused+bf16', 'fused+with_cp', 'fused+compile'],
                        help=f'none, or options joined by +, of {", ".join(OPTIONS)}; the first '
                        'row is the reference (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=16, help='default: 16')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds (default: 9)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/step_options'),
                        help='write OUT.md and OUT.json (default: %(default)s)')
    parser.add_argument('--processor-time', action='store_true',
                        help='count processor time, as of benchmark.py; set OMP_NUM_THREADS=1')
    args = parser.parse_args()
    unknown = {option for row in args.rows for option in row.split('+')} - {'none', *OPTIONS}
    if unknown:
        parser.error(f'--rows: no option {", ".join(sorted(unknown))}; there are '
                     f'{", ".join(OPTIONS)}')
    if min(args.batch_size, args.rounds) < 1:
        parser.error('--batch-size and --rounds must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import torch

from amt_mm.apis import launch
from amt_mm.apis.comparison import resolved
from amt_mm.engine.compiling import compile_host
from amt_mm.errors import InputError
from amt_mm.models import Host
from lab.benchmark.batches import make_images
from lab.benchmark.clock import check_processor_time
from lab.benchmark.contestant import Contestant
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import race
from lab.benchmark.table import write_race


def contestant(config: str, row: str, batch_size: int, images: Path, scratch: Path) -> Contestant:
    """A config that inherits the given one and has the options of a row."""
    options = row.split('+')
    base = config if '::' in config else str(Path(config).resolve())
    text = [f'_base_ = {base!r}',
            f'optim_wrapper = dict(optimizer=dict(fused={"fused" in options}))']
    if 'with_cp' in options:
        decoder = resolved(config).model.get('neck', {}).get('type') == 'amt_mm.AMTMAEDecoder'
        text.append(f'model = dict(backbone=dict(with_cp=True)'
                    f'{", neck=dict(with_cp=True)" if decoder else ""})')
    path = scratch / f'{row}.py'
    path.write_text('\n'.join(text))
    made = Contestant(str(path), batch_size, images, scratch, bf16='bf16' in options)
    if not isinstance(made.model, Host):
        raise InputError(f'{config}: {type(made.model).__name__} is not a host of amt_mm; give '
                         'a config with an overlay')
    made.name = row
    if 'compile' in options:
        compile_host(made.model, True)
    return made


def main() -> None:
    """Measure and print the table."""
    args = parse_args()
    with launch.one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        if args.processor_time:
            check_processor_time()
        launch.require_writable(args.out)
        scratch = Path(temporary)
        if '::' not in args.config:
            launch.require_file(args.config, 'config')
        images = make_images(scratch / 'images')
        rows = [contestant(args.config, row, args.batch_size, images, scratch)
                for row in args.rows]
        outcome = race(rows, args.rounds, processor_time=args.processor_time)
        memory = [peak_memory(row) for row in rows]
        markdown, data = write_race(args.out, rows, outcome, memory, dict(
            config=args.config, batch_size=args.batch_size, rounds=args.rounds,
            processor_time=args.processor_time))
        print(markdown.read_text())
        print(f'{args.rounds} rounds in turn, batch {args.batch_size}, {rows[0].device.type}, '
              f'{torch.get_num_threads()} threads. Also in {markdown}; every round in {data}')


if __name__ == '__main__':
    main()
