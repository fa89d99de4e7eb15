"""See the method work in one evening: pre-train by the recommended recipe and by AMT, and look.

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

from amt_mm.cli import arguments, parse_first

# Log lines of training that a newcomer sees; the live bar shows the rest where there is a terminal.
_SHOWN = ('Saliency refreshed', 'ERROR')
_SHOWN_IN_FILES = (*_SHOWN, 'Epoch(train)')
# Name in the table -> folder and config; all have the recommended batch, rate and epochs.
_RECIPES = {
    'recommended': ('recommended', 'quickstart/recommended_vit-mini-p8_{}.py'),
    'MAE + AMT': ('amt', 'quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_{}.py'),
}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='folder of images (default: generated scenes)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'),
                        help='where everything goes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings for both configs')
    return parser.parse_args()


if __name__ == '__main__':
    parse_first(parse_args)

import mmengine
import mmpretrain
import torch
from mmpretrain.registry import DATASETS

import amt_mm
from amt_mm.apis import comparison, jobs, launch
from amt_mm.config.recommended import recommended_options
from amt_mm.errors import InputError
from amt_mm.shipped import configs_folder
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
    options = dict(args.cfg_options)
    work_dir, kind = args.work_dir, 'scenes'
    if args.data:
        if not args.data.is_dir():
            raise InputError(f'{args.data}: no such folder')
        kind = 'folder'
        for key in ('train_dataloader.dataset', 'probe.train', 'probe.test'):
            options[f'{key}.data_root'] = str(args.data.resolve())
        work_dir = work_dir / args.data.resolve().name
    configs = {name: str(configs_folder() / config.format(kind))
               for name, (_, config) in _RECIPES.items()}
    cfg = comparison.resolved(configs['recommended'], options)
    images = len(DATASETS.build(cfg.train_dataloader.dataset))
    runs = {name: Run(config, work_dir / _RECIPES[name][0], options, images)
            for name, config in configs.items()}
    cfg = runs['recommended'].cfg
    say(f'1/4  random init: judging an untrained encoder on '
        f'{args.data or "generated scenes"}')
    results = {'random init': comparison.judge_checkpoint(cfg, None, args.seed)}
    for number, (name, run) in enumerate(runs.items(), start=2):
        say(f'{number}/4  {name}: {run.cfg.train_cfg.max_epochs} epochs in batches of '
            f'{run.cfg.train_dataloader.batch_size}')
        results[name] = comparison.run(run.config, args.seed, run.folder, run.options,
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
    page = write_page(args, work_dir, runs, rows, columns, time.perf_counter() - start)
    print(f'\n{markdown.read_text()}')
    print(f'table       {markdown} and {data}')
    print(f'page        {page}')
    for name, run in runs.items():
        print(f'checkpoint  {run.checkpoint}  ({name})')
    print(f'{time.perf_counter() - start:.0f} s')


class Run:
    """One pre-training of the quickstart.

    Attributes:
        config: Config file.
        folder: Work folder.
        options: The recommended batch, rate and epochs, and what the user asks for instead.
        cfg: The merged config.
    """

    def __init__(self, config: str, folder: Path, options: dict, images: int) -> None:
        asked = options.get('train_cfg.max_epochs')
        recommended = recommended_options(
            images, crops=asked * images if isinstance(asked, int) else None)
        if comparison.resolved(config, options).get('custom_hooks'):
            quarter = max(1, round(recommended['train_cfg.max_epochs'] / 4))
            recommended.update({'overlay.hooks.saliency.begin': quarter,
                                'overlay.hooks.saliency.interval': quarter})
        self.config, self.folder, self.options = config, folder, {**recommended, **options}
        self.cfg = comparison.resolved(config, self.options)

    @property
    def checkpoint(self) -> Path:
        """That of the last epoch."""
        return self.folder / f'epoch_{self.cfg.train_cfg.max_epochs}.pth'


def write_page(args: argparse.Namespace, work_dir: Path, runs: dict[str, Run], rows: list[dict],
               columns: dict[str, str], seconds: float) -> Path:
    """Write ``report.html`` and return where."""
    guided = runs['MAE + AMT']
    cfg = guided.cfg
    model = comparison.build_model(cfg)
    mmengine.runner.load_checkpoint(model, str(guided.checkpoint), map_location='cpu', strict=True)
    maps = sorted((guided.folder / 'saliency').glob('*.amtmap'),
                  key=lambda path: path.stat().st_mtime)
    curves = []
    for name, run in runs.items():
        records = [r for r in jobs.scalars(run.folder) if 'loss' in r]
        curves.append(Curve(name, [r['step'] for r in records], [r['loss'] for r in records]))
    count = len(maps)
    report = Report(
        title='amt_mm quickstart: does the encoder look at what matters?',
        rows=rows, columns=columns,
        notes=[
            'One short run with one seed on a small model: enough to see how the methods work, too '
            'little to rank them; docs/recipes.md and docs/study.md compare more of them.',
            '"recommended" masks and throws at random, and trains the mean token by the gradients '
            'of the whole crop (docs/recipes.md).',
            'The two losses are not comparable: the recipes predict other patches, and AMT those '
            'that it attends to.',
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
