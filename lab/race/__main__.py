"""Race our recipes against other implementations of MAE: accuracy over minutes of training.

All train the same small ViT (6 blocks of width 192, 64 pixels) on the same photographs, on one
thread each, for the same minutes; schedules fit the minutes. Every few seconds of training, while
the clock stands still, features of whole images are written, and k-NN and a linear probe measure
them on held-out photographs. Repeats are interleaved. The same command continues: finished runs
are not repeated. docs/race.md says who races on what terms. Below the folder of results:

  <contestant>/repeat_<n>   a run: features/, log.txt, result.json
  race.md, race.json        minutes to 90, 95 and 100 % of the best peer's final accuracy; versions
  race.svg, race.png        accuracy over minutes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first
from lab.race.field import CONTESTANTS

EXAMPLES = """
examples:
  make race ARGS="--minutes 20 --jobs 2"
  python -m lab.race --data photographs --minutes 20 --repeats 3 --jobs 2
  python -m lab.race --only recommended mae mmpretrain --minutes 5

Exit status: 0, 1 if a run failed (its log is named at the end), 2 if the race is refused.
"""
_POINTS = 20


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser('python -m lab.race', description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=Path('data/clothing'),
                        help='folder of photographs in class subfolders; a fifth of them, or a val '
                        'folder, is held out (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=10,
                        help='of training, for each run (default: %(default)s)')
    parser.add_argument('--every', type=float, metavar='SECONDS',
                        help='of training between two points of a curve (default: a twentieth of '
                        'the minutes)')
    parser.add_argument('--repeats', type=int, default=1, help='runs of each (default: 1)')
    parser.add_argument('--only', nargs='+', choices=CONTESTANTS, metavar='NAME',
                        default=list(CONTESTANTS), help=f'of {", ".join(CONTESTANTS)} '
                        '(default: all)')
    parser.add_argument('--jobs', type=int, default=1,
                        help='runs at a time, at most one for each core (default: 1)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/race'),
                        help='folder of results (default: %(default)s)')
    parser.add_argument('--python', type=Path, default=Path('.venv-race/bin/python'),
                        help='interpreter with lab/race/requirements.txt, which `make race` '
                        'installs (default: %(default)s)')
    args = parser.parse_args(argv)
    args.every = 60 * args.minutes / _POINTS if args.every is None else args.every
    if min(args.minutes, args.every) <= 0 or min(args.repeats, args.jobs) < 1:
        parser.error('--minutes, --every, --repeats and --jobs must be positive')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import json
import sys
from collections.abc import Iterable
from functools import partial

import torch

from amt_mm.apis import launch
from amt_mm.apis.jobs import stopping_children
from amt_mm.apis.pool import run_pool
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.json_files import plain_values
from amt_mm.version import __version__
from amt_mm.visualization.figures import save_figure
from lab.race.plot import over_minutes
from lab.race.running import Race, enter_images, finished_result, run_one
from lab.race.thresholds import MEASURES, as_markdown, compare


def main(argv: list[str] | None = None) -> None:
    """Run what is not finished, and write the results."""
    args = parse_args(argv)
    with launch.one_line_errors(launch.GOES_ON), stopping_children():
        # Judging is on the core of the run that it follows.
        torch.set_num_threads(1)
        if (not args.python.is_file()
                and any(CONTESTANTS[name].own_environment for name in args.only)):
            raise InputError(f'--python {args.python}: no such interpreter; `make race` installs '
                             'it, and --only recommended mae amt mmpretrain does without')
        # Not resolved: the interpreter of an environment is a link.
        race = Race(args.out, args.minutes, args.every, args.python.absolute())
        launch.require_writable(args.out / 'race.json')
        enter_images(race, args.data)
        runs = {f'{name}/repeat_{repeat}': (name, repeat)
                for repeat in range(args.repeats) for name in args.only}
        waiting = {key: run for key, run in runs.items() if finished_result(race, *run) is None}
        print(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished; {args.out}')
        failed = run_pool({key: lambda _, run=run: run_one(race, *run)
                           for key, run in waiting.items()}, range(args.jobs),
                          partial(write, race, runs.values()))
        print(write(race, runs.values()))
        if failed:
            print(f'{len(failed)} of {len(runs)} runs failed:', file=sys.stderr)
            for name, reason in failed.items():
                print(f'  {name}: {reason}', file=sys.stderr)
            sys.exit(1)


def write(race: Race, runs: Iterable[tuple[str, int]]) -> str:
    """Write table, plot and all curves of the finished runs; return the table.

    Args:
        race: The terms.
        runs: Contestant and repeat.
    """
    results = [result for run in runs if (result := finished_result(race, *run))]
    if not results:
        return 'No run is finished'
    compared = {measure: compare(results, measure) for measure in MEASURES}
    text = '\n'.join(as_markdown(found, measure) for measure, found in compared.items() if found)
    versions = {'amt_mm': __version__,
                **{name: found for one in results for name, found in one['versions'].items()}}
    text += f'\nVersions: {", ".join(f"{name} {found}" for name, found in versions.items())}\n'
    write_text(race.folder / 'race.md', text)
    write_text(race.folder / 'race.json', json.dumps(
        plain_values(dict(compared=compared, runs=results)), indent=1) + '\n')
    save_figure(over_minutes(results, compared), race.folder / 'race')
    return text


if __name__ == '__main__':
    main()
