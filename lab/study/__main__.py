"""Train recipes on data sets with several seeds, evaluate the encoders, compare to a baseline.

A study is one small file, see configs/studies/attention.py. Runs start seed by seed, so that a
partial study can be compared. The same command continues: finished runs are not repeated,
interrupted ones are resumed. Below the work folder:

  <data set>/<recipe>/seed_<n>   a run: merged config (settings/), logs, checkpoint, result.json
  runs.jsonl                     one line per finished run
  tables/                        mean, standard deviation and paired differences; pooled
  plots/                         differences with their intervals; accuracy over cost
  part/                          tables and plots of the last part requested with --table
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLES = """
examples:
  python -m lab.study configs/studies/attention.py --dry-run
  python -m lab.study configs/studies/attention.py --jobs 2
  python -m lab.study configs/studies/attention.py --gpus 0 1 2 3
  python -m lab.study configs/studies/attention.py --recipes random AMT --datasets clothing
  python -m lab.study configs/studies/attention.py --table
  python -m lab.study configs/studies/attention.py --table --datasets clothing cifar10

Exit status: 0, 1 if a run failed (its log is named at the end), 2 if the study is refused.
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', help='file of the study')
    parser.add_argument('--out', '--work-dir', dest='work_dir', type=Path,
                        help='default: work_dirs/studies/NAME_OF_STUDY')
    part = parser.add_argument_group('a part of the study (default: all of it)')
    part.add_argument('--recipes', nargs='+', metavar='NAME')
    part.add_argument('--datasets', nargs='+', metavar='NAME')
    part.add_argument('--seeds', nargs='+', type=int, metavar='N')
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--jobs', type=int, default=1,
                       help='runs at a time; with more than one, each gets one CPU thread '
                       '(default: 1)')
    where.add_argument('--gpus', nargs='+', default=[], metavar='ID',
                       help='one run at a time on each of these GPUs, by CUDA_VISIBLE_DEVICES '
                       '(a GPU that is named twice runs two)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--dry-run', action='store_true',
                      help='print the runs with their epochs, costs and states; train nothing')
    what.add_argument('--table', action='store_true',
                      help='rebuild runs.jsonl, tables and plots from what is finished; train '
                      'nothing. For a part of the study, with the baseline: tables and plots go to '
                      'part/ and replace those of an earlier part')
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.apis.jobs import stopping_children
from amt_mm.checkpoints.newest import has_begun
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock
from amt_mm.visualization import markdown_table
from lab.study.planning import Run, grid, plan_study
from lab.study.plots import write_plots
from lab.study.records import write_list
from lab.study.running import finished_result, run_all
from lab.study.study_file import Study, read_study
from lab.study.tables import write_tables


def main() -> None:
    """Plan, run, and write the results."""
    args = parse_args()
    with launch.one_line_errors(launch.GOES_ON), stopping_children():
        study = read_study(args.study)
        work_dir = args.work_dir or Path('work_dirs/studies', study.name)
        every = grid(plan_study(study), study.seeds)
        selected = select(every, study, args)
        done: dict[str, dict] = {}

        def look() -> list[dict]:
            # Including runs that are not selected, or that another process has finished.
            for run in every:
                if run.name not in done and (record := finished_result(run, work_dir)):
                    done[run.name] = record
            return [done[run.name] for run in every if run.name in done]

        def write() -> list[Path]:
            with file_lock(work_dir, wait=True):
                records = look()
                write_list(records, work_dir)
                return write_tables(records, study, work_dir)

        look()
        if args.dry_run:
            print(overview(selected, done, work_dir))
            return
        launch.require_writable(work_dir / 'runs.jsonl')
        if args.table and (args.recipes or args.datasets or args.seeds):
            part = {run.name for run in select(every, study, args, always=study.baseline)}
            write_part([record for name, record in done.items() if name in part], study, work_dir)
            return
        failed = {}
        if not args.table:
            waiting = [run for run in selected if run.name not in done]
            print(f'{len(selected) - len(waiting)} of {len(selected)} runs are finished; '
                  f'{work_dir}')
            failed = run_all(waiting, study.name, work_dir, args.jobs, args.gpus, write)
        for file in write():
            print(f'\n{file.read_text()}', end='')
        # Plotting takes seconds, so not after each run.
        with file_lock(work_dir, wait=True):
            write_plots(look(), study, work_dir)
        print(f'\nAlso in {work_dir}: tables/, plots/ and runs.jsonl')
        if failed:
            print(f'\n{len(failed)} of {len(selected)} runs failed:', file=sys.stderr)
            for name, reason in failed.items():
                print(f'  {name}: {reason}', file=sys.stderr)
            sys.exit(1)


def write_part(records: Sequence[dict], study: Study, work_dir: Path) -> None:
    """Write, print and plot the tables of a part of the study."""
    if not records:
        print('No run of it is finished')
        return
    folder = work_dir / 'part'
    with file_lock(work_dir, wait=True):
        shutil.rmtree(folder, ignore_errors=True)
        for file in write_tables(records, study, folder):
            print(f'\n{file.read_text()}', end='')
        write_plots(records, study, folder)
    print(f'\nAlso in {folder}: tables/ and plots/')


def select(runs: Sequence[Run], study: Study, args: argparse.Namespace,
           always: str | None = None) -> list[Run]:
    """Select the runs that the command line asks for, and those of the recipe ``always``.

    Raises:
        InputError: An unknown name or seed.
    """
    def chosen(option: str, wanted: Sequence | None, known: Iterable) -> set:
        for value in wanted or ():
            if value not in known:
                raise InputError(f'--{option} {value}: the study has '
                                 f'{"; ".join(map(str, known))}')
        return set(wanted or known)

    recipes = chosen('recipes', args.recipes, study.recipes) | {always}
    datasets = chosen('datasets', args.datasets, study.datasets)
    seeds = chosen('seeds', args.seeds, study.seeds)
    return [run for run in runs if run.plan.recipe in recipes and run.plan.dataset in datasets
            and run.seed in seeds]


def overview(runs: Sequence[Run], done: Container[str], work_dir: Path) -> str:
    """Format the runs as a table."""
    rows = [dict(dataset=run.plan.dataset, recipe=run.plan.recipe, seed=run.seed,
                 epochs=run.plan.epochs, step=run.plan.relative_step, run=run.plan.relative_cost,
                 state='finished' if run.name in done else
                 'begun' if has_begun(run.folder(work_dir)) else 'to do') for run in runs]
    columns = dict(dataset='data set', recipe='recipe', seed='seed', epochs='epochs',
                   step='cost of a step', run='cost of the run', state='state')
    return markdown_table(rows, columns, dict(step='.3f', run='.3f'))


if __name__ == '__main__':
    main()
