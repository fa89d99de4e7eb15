"""See the method work in one evening: pre-train MAE and MAE + AMT, compare, look.

On generated scenes, or with --data on a folder of your own images (class
subfolders optional: with them, k-NN and linear accuracy too). Two CPU cores are
enough. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
from pathlib import Path

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

import mmengine
import mmpretrain
import torch

import amt_mm
from amt_mm.engine import comparison, jobs, launch
from amt_mm.errors import InputError
from amt_mm.visualization import Curve, CurvePlot, Report, render, write_table
from amt_mm.visualization.gallery import gallery

# Log lines of training that a newcomer sees; the live bar shows the rest where there is a terminal.
_SHOWN = ('Saliency refreshed', 'ERROR')
_SHOWN_IN_FILES = (*_SHOWN, 'Epoch(train)')
_CONFIG = 'quickstart/{}_vit-mini-p8_1xb128-coslr-24e_{}.py'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='folder of images (default: generated scenes)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'),
                        help='where everything goes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=launch.CfgOptions,
                        metavar='KEY=VALUE', help='settings for both configs')
    return parser.parse_args()


def main() -> None:
    """Train, judge, show."""
    args = parse_args()
    with launch.one_line_errors(launch.GOES_ON), jobs.stopping_children():
        quickstart(args)


def quickstart(args: argparse.Namespace) -> None:
    """Run the whole of it; see the module."""
    start = time.perf_counter()
    options = dict(args.cfg_options)
    work_dir, kind = args.work_dir, 'scenes'
    if args.data:
        if not args.data.is_dir():
            raise InputError(f'{args.data}: no such folder')
        kind = 'folder'
        for key in ('train_dataloader.dataset', 'probe.train', 'probe.test'):
            options[f'{key}.data_root'] = str(args.data.resolve())
        work_dir = work_dir / args.data.resolve().name
    configs = {name: jobs.configs_folder() / _CONFIG.format(recipe, kind)
               for name, recipe in (('MAE', 'mae'), ('MAE + AMT', 'mae-amt'))}

    say(f'1/4  random init: judging an untrained encoder on '
        f'{args.data or "generated scenes"}')
    cfg = comparison.resolved(configs['MAE'], {**options, 'randomness.seed': args.seed})
    results = {'random init': comparison.judge_checkpoint(cfg, None, args.seed)}
    for number, (name, config) in enumerate(configs.items(), start=2):
        say(f'{number}/4  {name}: {config.stem}')
        results[name] = comparison.run(str(config), args.seed, work_dir / config.stem, options,
                                       show=_SHOWN if sys.stderr.isatty() else _SHOWN_IN_FILES)

    say('4/4  table and page')
    rows = [{'recipe': name, **comparison.summarise([result])} for name, result in results.items()]
    for name in comparison.TOKENS:
        rows[0][name] = None  # nothing was trained
    columns = {'recipe': 'encoder', **comparison.MEASURES, **comparison.TOKENS}
    columns = {name: head for name, head in columns.items()
               if any(row.get(name) is not None for row in rows)}
    rows = [{name: row.get(name) for name in columns} for row in rows]
    markdown, data = write_table(work_dir / 'table', rows, columns)
    page = write_page(args, work_dir, configs, options, rows, columns,
                      time.perf_counter() - start)
    print(f'\n{markdown.read_text()}')
    print(f'table       {markdown} and {data}')
    print(f'page        {page}')
    for name, config in configs.items():
        cfg = comparison.resolved(config, options)
        checkpoint = work_dir / config.stem / f'epoch_{cfg.train_cfg.max_epochs}.pth'
        print(f'checkpoint  {checkpoint}  ({name})')
    print(f'{time.perf_counter() - start:.0f} s')


def write_page(args: argparse.Namespace, work_dir: Path, configs: dict[str, Path], options: dict,
               rows: list[dict], columns: dict[str, str], seconds: float) -> Path:
    """Write ``report.html`` and return where."""
    config = configs['MAE + AMT']
    cfg = comparison.resolved(config, options)
    model = comparison.build_model(cfg)
    folder = work_dir / config.stem
    checkpoint = folder / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    mmengine.runner.load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    maps = sorted((folder / 'saliency').glob('*.amtmap'), key=lambda path: path.stat().st_mtime)
    curves = []
    for name, each in configs.items():
        records = [r for r in jobs.scalars(work_dir / each.stem) if 'loss' in r]
        curves.append(Curve(name, [r['step'] for r in records], [r['loss'] for r in records]))
    count = len(maps)
    report = Report(
        title='amt_mm quickstart: does the encoder look at what matters?',
        rows=rows, columns=columns,
        notes=[
            'One short run with one seed on a small model: enough to see how the method works, too '
            'little to learn the classes or to rank recipes. docs/results.md has several seeds.',
            'The two losses are not comparable once guidance begins: AMT predicts other patches '
            'than MAE, the ones that it attends to.',
        ],
        plots=[CurvePlot('Loss on masked patches', 'step', 'loss', curves)],
        gallery=gallery(model, cfg, maps, seed=args.seed),
        details={
            'command': shlex.join([Path(sys.executable).name, *sys.argv]),
            'data': str(args.data or 'generated scenes'),
            'seconds': f'{seconds:.0f}',
            'refreshes': str(count),
            'machine': f'{platform.machine()}, {torch.get_num_threads()} threads, '
                       f'{torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"}',
            'versions': f'amt_mm {amt_mm.__version__}, torch {torch.__version__}, mmengine '
                        f'{mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
            'config of MAE + AMT': cfg.pretty_text,
        })
    page = work_dir / 'report.html'
    page.write_text(render(report), encoding='utf-8')
    return page


def say(text: str) -> None:
    """Print a heading at once, also into a pipe."""
    print(f'\n{text}', flush=True)


if __name__ == '__main__':
    main()
