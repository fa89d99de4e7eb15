"""Pre-train configs over several seeds and compare their encoders in one table.

Each run has its own folder, <out>/<config>/seed_<n>. Finished runs are not repeated and
interrupted ones are resumed, so the same command continues.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLE = """
example:
  python tools/compare.py configs/clothing/mae_*-30e_clothing.py configs/clothing/mae-*-30e_*.py \
    --seeds 0 1 2 --jobs 2 --out work_dirs/clothing
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+',
                        help='config files with `probe`; the first is the reference of differences')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='default: 0')
    parser.add_argument('--out', '--work-dir', dest='work_dir', type=Path,
                        default=Path('work_dirs/compare'), help='default: %(default)s')
    parser.add_argument('--jobs', type=int, default=1,
                        help='parallel runs; with more than one, each gets one CPU thread and '
                        'logs to train.log in its folder (default: 1)')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings for all configs')
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import comparison, launch
from amt_mm.apis.jobs import stopping_children
from amt_mm.apis.pool import run_together
from amt_mm.errors import InputError
from amt_mm.visualization import write_table


def main() -> None:
    """Run everything and write the table."""
    args = parse_args()
    with launch.one_line_errors(launch.GOES_ON), stopping_children():
        jobs = [(config, seed) for seed in args.seeds for config in args.configs]
        check_folders(args, jobs)
        for config in args.configs:
            comparison.check_comparable(config, comparison.resolved(config, args.cfg_options))
        launch.require_writable(args.work_dir / 'table.md')

        results = {}

        def one(job: tuple[str, int]) -> None:
            results[job] = comparison.run(
                *job, folder_of(args, *job), args.cfg_options,
                threads=1 if args.jobs > 1 else None, show=() if args.jobs > 1 else None,
                encoder=args.encoder)

        run_together({str(folder_of(args, *job)): partial(one, job) for job in jobs}, args.jobs)
        first = args.configs[0]
        untrained = [comparison.untrained(
            comparison.resolved(first, {**args.cfg_options, 'randomness.seed': seed}),
            args.work_dir / Path(first).stem / f'random_init_{seed}') for seed in args.seeds]
        rows = [{'recipe': 'random init', **comparison.summarise(untrained),
                 **dict.fromkeys(comparison.TOKENS)}]
        rows += [{'recipe': Path(config).stem,
                  **comparison.summarise([results[config, seed] for seed in args.seeds])}
                 for config in args.configs]
        columns = {'recipe': 'pre-training', **comparison.MEASURES, **comparison.TOKENS}
        used = {name: head for name, head in columns.items()
                if any(row.get(name) is not None for row in rows)}
        rows = [{name: row[name] for name in used if name in row} for row in rows]
        markdown, data = write_table(args.work_dir / 'table', rows, used)
        print(markdown.read_text())
        shown = (f'{len(args.seeds)} seeds, mean ± standard deviation' if len(args.seeds) > 1
                 else 'One seed')
        print(f'{shown}. Also in {markdown} and {data}')
        if len(args.seeds) > 1 and len(args.configs) > 1:
            print_differences(args, results)


def folder_of(args: argparse.Namespace, config: str, seed: int) -> Path:
    """Folder of a run."""
    return args.work_dir / Path(config).stem / f'seed_{seed}'


def check_folders(args: argparse.Namespace, jobs: list[tuple[str, int]]) -> None:
    """Refuse runs that would be one, before the first one starts.

    Raises:
        InputError: Two configs of one name, or a repeated seed.
    """
    folder, runs = Counter(folder_of(args, *job) for job in jobs).most_common(1)[0]
    if runs > 1:
        raise InputError(f'two runs would share the folder {folder}: give each seed once, and '
                         'config files of different names')


def print_differences(args: argparse.Namespace, results: dict[tuple[str, int], dict]) -> None:
    """Print and write the differences of each recipe to the first, paired by seed."""
    first, *others = args.configs
    rows = [{'recipe': Path(config).stem, **comparison.paired_differences(
        [results[config, seed] for seed in args.seeds],
        [results[first, seed] for seed in args.seeds])} for config in others]
    columns = {'recipe': f'minus {Path(first).stem}',
               **{name: comparison.MEASURES[name] for name in rows[0] if name != 'recipe'}}
    markdown, data = write_table(args.work_dir / 'differences', rows, columns)
    print(f'\n{markdown.read_text()}')
    print('Paired over seeds, mean ± half of the 95 % confidence interval. '
          f'Also in {markdown} and {data}')


if __name__ == '__main__':
    main()
