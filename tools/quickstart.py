"""See the methods work in one evening: no training, MAE, the recommended recipe, and AMT.

On generated scenes, or with --data on a folder of your own images (class subfolders optional: with
them, k-NN and linear accuracy too). Two CPU cores are enough. What is finished is not done again;
other images or settings get a separate folder next to the first.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  python tools/quickstart.py
  python tools/quickstart.py --data photographs --minutes 30
  python tools/quickstart.py --data photographs --cfg-options overlay.hooks.saliency.interval=5

A setting of --cfg-options goes to the recipes that have it.
"""
UNTRAINED = 'no training'
# Name in the table -> name of the recipe.
NAMES = {'MAE': 'mae', 'recommended': 'recommended', 'MAE + AMT': 'amt'}
# Enough for the generated scenes; more would take longer than five minutes on two cores.
SCENE_CROPS = 12_800


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='folder of images (default: generated scenes)')
    parser.add_argument('--pixels', type=Path, metavar='FILE', help='how to read the images: a '
                        'config of `amt statistics FOLDER --out FILE` (default: as photographs)')
    parser.add_argument('--out', '--work-dir', type=Path, default=Path('work_dirs/quickstart'),
                        help='folder for all results (default: %(default)s)')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, help='passes of each recipe over the images '
                        '(default: by their number)')
    length.add_argument('--minutes', type=float, help='approximate training time in total')
    parser.add_argument('--jobs', type=int, help='recipes that train at a time, on one CPU thread '
                        'each (default: 1 on a GPU or a single core, else all)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings for the recipes that have them')
    args = parser.parse_args(argv)
    if any(given is not None and given <= 0 for given in (args.epochs, args.minutes)):
        parser.error('--epochs and --minutes must be positive')
    if args.jobs is not None and args.jobs < 1:
        parser.error('--jobs must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import mmengine
import mmpretrain
import torch
from mmengine.config import Config

import amt_mm
from amt_mm.apis import comparison, jobs, judging, launch, pretraining
from amt_mm.apis.pool import run_together
from amt_mm.apis.progress import following
from amt_mm.apis.scalars import scalars
from amt_mm.apis.step_times import step_times
from amt_mm.apis.verdict import verdict
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore
from amt_mm.visualization import Curve, CurvePlot, Report, render, write_table
from amt_mm.visualization.gallery import gallery


def main() -> None:
    """Train, judge, show."""
    args = parse_args()
    with launch.one_line_errors(launch.GOES_ON), jobs.stopping_children():
        quickstart(args)


def quickstart(args: argparse.Namespace) -> None:
    """Run the whole of it; see the module."""
    start = time.perf_counter()
    folder = args.out / args.data.resolve().name if args.data else args.out
    base = pretraining.base_config(args.data, pixels=args.pixels,
                                   reduced=folder / pretraining.REDUCED)
    if args.data:
        launch.require_outside(folder, args.data)
    images = pretraining.look_at_images(base)
    say(f'1/5  {images}')
    for line in images.advice:
        launch.warn(line)
    configs = sized(args, base, images.training, folder)
    work_dir = unused_folder(folder, configs)
    launch.require_writable(work_dir / 'table.md')
    cfg = configs['recommended']
    steps = {name: cfg.train_cfg.max_epochs * -(-images.training // cfg.train_dataloader.batch_size)
             for name, cfg in configs.items()}
    # Three on two cores share them evenly; two and then one leave a core idle.
    alone = torch.cuda.is_available() or (os.cpu_count() or 1) == 1
    count = args.jobs or (1 if alone else len(configs))
    say(f'2/5  training {", ".join(configs)}, {count} at a time: {cfg.train_cfg.max_epochs} epochs '
        f'in batches of {cfg.train_dataloader.batch_size}; logs and results in {work_dir}')
    threads = 1 if count > 1 else None
    with following([work_dir / folder for folder in NAMES.values()], sum(steps.values())):
        run_together({name: partial(
            comparison.train_resolved, configs[name], work_dir / NAMES[name], threads,
            show=('Saliency refreshed', 'ERROR')) for name in configs}, count)

    say('3/5  evaluating the encoders')
    results = {UNTRAINED: comparison.untrained(cfg, work_dir / 'random_init')}
    for name in configs:
        results[name] = comparison.run_resolved(configs[name], work_dir / NAMES[name],
                                                judge_here=True)

    say('4/5  timing the recipes side by side')
    maps = saliency_maps(work_dir / NAMES['MAE + AMT'])
    times = step_times(configs, {'MAE + AMT': maps[-1]} if maps else None)
    for name, seconds in times.items():
        results[name]['seconds_per_step'] = seconds

    say('5/5  table and page')
    lines = verdict(results, UNTRAINED, 'MAE', times)
    rows = [{'recipe': name, **comparison.summarise([result])} for name, result in results.items()]
    for name in comparison.TOKENS:
        rows[0][name] = None  # nothing was trained
    columns = {'recipe': 'encoder', **comparison.MEASURES, **comparison.TOKENS}
    columns = {name: head for name, head in columns.items()
               if any(row.get(name) is not None for row in rows)}
    rows = [{name: row.get(name) for name in columns} for row in rows]
    markdown, data = write_table(work_dir / 'table', rows, columns)
    page = write_page(args, work_dir, configs, rows, columns, lines, maps,
                      time.perf_counter() - start)
    print(f'\n{markdown.read_text()}')
    print('\n'.join(lines))
    print(f'\ntable       {markdown} and {data}')
    print(f'page        {page}')
    for name, cfg in configs.items():
        print(f'checkpoint  {checkpoint(work_dir, name, cfg)}  ({name})')
    print(f'{time.perf_counter() - start:.0f} s')


def sized(args: argparse.Namespace, base: Config, images: int, folder: Path
          ) -> dict[str, Config]:
    """Put each recipe on the config, for the number of images or the minutes.

    Raises:
        InputError: Nothing reads one of the options.
    """
    options = {**args.cfg_options, 'randomness.seed': args.seed}
    chosen = {name: pretraining.own_options(base, recipe, options)
              for name, recipe in NAMES.items()}
    # What no recipe has may still be an argument of a class, or else is refused.
    others = {key: value for key, value in options.items()
              if not any(key in own for own in chosen.values())}

    def build(crops: int | None) -> dict[str, Config]:
        return {name: pretraining.put_recipe(base, recipe, images,
                                             {**chosen[name], **others}, crops)
                for name, recipe in NAMES.items()}

    if args.minutes:
        trial = build(None)
        return build(pretraining.crops_in(args.minutes / len(trial), trial['MAE'], folder))
    if args.epochs:
        return build(args.epochs * images)
    return build(None if args.data else SCENE_CROPS)


def unused_folder(first: Path, configs: Mapping[str, Config]) -> Path:
    """Return the first of NAME, NAME-2, ... that holds no results of other settings or images."""
    folder, absolute = first, Path(os.path.abspath(first))  # `.` has no name
    for number in itertools.count(2):
        if is_free(folder, configs):
            break
        folder = absolute.with_name(f'{absolute.name}-{number}')
    if folder != first:
        say(f'{first} holds results of other settings or images, which stay there')
    return folder


def is_free(folder: Path, configs: Mapping[str, Config]) -> bool:
    """Whether a folder is new, or holds runs of these very configs and images."""
    try:
        for name, cfg in configs.items():
            comparison.check_claim_with_images(cfg, folder / NAMES[name])
    except InputError:
        return False
    return True


def saliency_maps(folder: Path) -> list[Path]:
    """Map files of a run, in the order of its refreshes."""
    return sorted((folder / 'saliency').glob('*.amtmap'),
                  key=lambda path: SaliencyStore(path, share=None).step)


def checkpoint(work_dir: Path, name: str, cfg: Config) -> Path:
    """That of the last epoch."""
    return work_dir / NAMES[name] / f'epoch_{cfg.train_cfg.max_epochs}.pth'


def write_page(args: argparse.Namespace, work_dir: Path, configs: Mapping[str, Config],
               rows: list[dict], columns: dict[str, str], lines: list[str], maps: list[Path],
               seconds: float) -> Path:
    """Write ``report.html`` and return where."""
    cfg = configs['MAE + AMT']
    model = judging.build_model(cfg)
    mmengine.runner.load_checkpoint(model, str(checkpoint(work_dir, 'MAE + AMT', cfg)),
                                    map_location='cpu', strict=True)
    curves = []
    for name, folder in NAMES.items():
        records = [r for r in scalars(work_dir / folder) if 'loss' in r]
        curves.append(Curve(name, [r['step'] for r in records], [r['loss'] for r in records]))
    report = Report(
        title='amt_mm quickstart: what pre-training has taught the encoder',
        rows=rows, columns=columns, verdict=lines,
        notes=[
            'One short run with one seed on a small model: enough to see how the methods work, too '
            'little to rank them; docs/recipes.md and docs/study.md compare more of them.',
            '"recommended" masks and throws at random, and trains the mean token on the HOG '
            'of the whole crop (docs/recipes.md).',
            'The losses are not comparable: the recipes predict different patches; AMT, those that '
            'it attends to.',
        ],
        plots=[CurvePlot('Loss on masked patches', 'step', 'loss', curves)],
        gallery=gallery(model, cfg, maps, seed=args.seed),
        details={
            'command': shlex.join([Path(sys.executable).name, *sys.argv]),
            'data': str(args.data or 'generated scenes'),
            'seconds': f'{seconds:.0f}',
            'refreshes': str(len(maps)),
            'machine': f'{platform.machine()}, {torch.get_num_threads()} threads, '
                       f'{torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"}',
            'versions': f'amt_mm {amt_mm.__version__}, torch {torch.__version__}, mmengine '
                        f'{mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
            'config of MAE + AMT': cfg.pretty_text,
        })
    page = work_dir / 'report.html'
    write_text(page, render(report))
    return page


def say(text: str) -> None:
    """Print a heading at once, also into a pipe."""
    print(f'\n{text}', flush=True)


if __name__ == '__main__':
    main()
