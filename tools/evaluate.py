"""Evaluate pre-trained checkpoints on folders of classes and on public data sets.

Each run (checkpoint x data set x protocol x seed) has its own folder. The same command continues
where it stopped: it skips finished runs and resumes interrupted ones. The result is a table in
Markdown and JSON, next to the paper's figures.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from functools import partial
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import BACKGROUND_DATA, DATA, MASKED_DATA, MORE_DATA, VIDEO_DATA
from amt_mm.protocols import PROTOCOLS

EXAMPLES = """
examples:
  k-NN and linear accuracy on your own class folders:
    amt evaluate work_dirs/NAME/epoch_400.pth --data FOLDER
  a row of the paper's Table 1, on 8 GPUs:
    amt evaluate work_dirs/NAME/epoch_400.pth --data cifar10 cifar100 \\
      tiny-imagenet stl10 in1k --protocols linear finetune --processes 8
  semantic segmentation of a folder of images/ and masks/ (PNG) on frozen features:
    amt evaluate work_dirs/NAME/epoch_400.pth --data FOLDER --protocols segmentation
  two checkpoints with curves, confused classes and pictures on one page:
    amt evaluate A.pth B.pth --data FOLDER --protocols knn linear attentive --report
  three checkpoints with your own configs, two runs at a time:
    amt evaluate A.pth B.pth C.pth --configs my_configs/*_birds.py --jobs 2

The architecture, patch size and image size are read from the checkpoint. Bad input ends with one
line and exit status 2.
"""

# What runs.json tells of a run besides its metrics.
_IDENTITY = ('pretraining', 'data', 'protocol', 'seed', 'checkpoint', 'folder')
# Default protocols: folders are encoded once; data sets of the papers have figures for `linear`,
# which trains for 90 epochs.
_OF_FOLDERS, _OF_DATA_SETS = ('knn', 'linear-sweep'), ('knn', 'linear')
# Data sets of other labels than classes -> the one protocol on them.
_OF_OTHER_LABELS = {**dict.fromkeys(MASKED_DATA, ('segmentation', )),
                    **dict.fromkeys(BACKGROUND_DATA, ('backgrounds', )),
                    **dict.fromkeys(VIDEO_DATA, ('video-segmentation', ))}
# Log lines that are shown on the terminal; the folder of the run has all of them.
SHOWN = ('entries of the backbone', 'Epoch(val)', 'Epoch(test)')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='+', type=Path,
                        help='checkpoints of this toolbox, mmpretrain, timm, transformers, lightly '
                        'or the official MAE, AMT, SimMIM, iBOT, AttMask or DINO (1 to 3); none '
                        'for random weights, of ViT-B/16 or the network of --configs')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--data', nargs='+', default=[], metavar='DATA',
                        help=f'{", ".join((*DATA, *MORE_DATA))}, or folders with class subfolders; '
                        f'for segmentation {", ".join(MASKED_DATA)}, or folders of images/ and '
                        f'masks/; for backgrounds {", ".join(BACKGROUND_DATA)}; for retrieval also '
                        'folders of revisited Oxford or Paris; for video-segmentation '
                        f'{", ".join(VIDEO_DATA)}, or folders of its layout')
    parser.add_argument('--protocols', nargs='+', choices=PROTOCOLS, metavar='PROTOCOL',
                        help=f'{", ".join(PROTOCOLS)} (default: {" ".join(_OF_FOLDERS)} for '
                        f'folders, {" ".join(_OF_DATA_SETS)} for data sets with a name, the one '
                        f'that fits for {", ".join(_OF_OTHER_LABELS)})')
    parser.add_argument('--configs', nargs='+', default=[], metavar='CONFIG',
                        help='config files instead of --data and --protocols; the table takes '
                        'the name of the data set from the file name, after its last _')
    parser.add_argument('--labels', nargs='+', metavar='NAME',
                        help='name of each checkpoint in the table; checkpoints with the same name '
                        'are averaged (default: the pre-training recorded in the checkpoint, and '
                        'only seeds of one config are averaged)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0],
                        help='random seeds of protocols that train (default: 0)')
    parser.add_argument('--image-size', type=int,
                        help='image size in pixels (default: that of the pre-training, else 224)')
    parser.add_argument('--pixels', type=Path, metavar='FILE', help='how to read the images: a '
                        'config of `amt statistics FOLDER --out FILE` (default: as for '
                        'the pre-training)')
    parser.add_argument('--out', '--work-dir', dest='work_dir', type=Path,
                        default=Path('work_dirs/evaluate'),
                        help='folder of the results (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=1,
                        help='processes per run, one per GPU (default: 1)')
    parser.add_argument('--jobs', type=int, default=1,
                        help='concurrent runs; with more than one, each gets one CPU thread and '
                        'its log is not shown (default: 1)')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE',
                        help='settings for every run whose config has them')
    parser.add_argument('--report', action='store_true',
                        help='also write one HTML page: the table, curves over epochs and learning '
                        'rates, most confused classes, nearest neighbours, maps of attentive '
                        'probes and components of patch features')
    arguments.add_trust_argument(parser)
    args = parser.parse_args(argv)
    if args.jobs < 1 or args.processes < 1:
        parser.error('--jobs and --processes must be at least 1')
    if bool(args.data) == bool(args.configs):
        parser.error('give either --data or --configs')
    if args.labels and len(args.labels) != len(args.checkpoints):
        parser.error(f'{len(args.labels)} --labels for {len(args.checkpoints)} checkpoints')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import evaluation, launch
from amt_mm.apis.evaluation_report import write_report
from amt_mm.apis.jobs import stopping_children
from amt_mm.apis.pool import run_together
from amt_mm.apis.shared_encoding import encoding_once
from amt_mm.checkpoints.describe import Pretraining, describe
from amt_mm.checkpoints.digest import checkpoint_digest
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config.pixels import read_pixels_config
from amt_mm.errors import InputError
from amt_mm.evaluation.rows import table_rows
from amt_mm.json_files import plain_values
from amt_mm.visualization import write_table


def plan(args: argparse.Namespace) -> list[dict]:
    """Find and check all runs before the first one starts.

    Returns:
        For each run ``pretraining``, ``data``, ``protocol``, ``checkpoint``, ``config``
        (resolved), ``folder`` and ``paper``, the row of Table 1 to compare with.
    """
    runs, configs, named = [], set(), {}
    for i, checkpoint in enumerate(args.checkpoints):
        pretraining = describe(checkpoint, args.encoder)
        if args.labels:
            label = args.labels[i]
        else:
            label = pretraining.recipe or checkpoint.stem
            label = f'{label}, {args.encoder}' if args.encoder else label
            _check_same_recipe(checkpoint, pretraining, label, named)
        results, digest = args.work_dir / _folder_name(label), checkpoint_digest(checkpoint)
        for data, protocol, config, options in choose_configs(args, pretraining):
            configs.add(config)
            if args.pixels:
                options = {**options, 'overlay.pixels': read_pixels_config(args.pixels)}
            if args.image_size is not None:
                options = {**options, 'overlay.image_size': args.image_size}
            # Protocols that do not train give the same result with every seed.
            for seed in args.seeds if PROTOCOLS[protocol].trains else args.seeds[:1]:
                cfg = evaluation.adapt_config(config, pretraining, {
                    **options, **args.cfg_options, 'randomness.seed': seed})
                launch.enter_encoder(cfg, args.encoder)
                folder = evaluation.folder_of_run(
                    results, digest, f'{data.rstrip("/")}/{protocol}/seed_{seed}')
                runs.append(dict(
                    pretraining=label, data=data, protocol=protocol, seed=seed, config=cfg,
                    checkpoint=checkpoint, folder=folder,
                    paper=pretraining.row if data in args.data else None))
    evaluation.check_known(args.cfg_options, sorted(configs))
    folders = Counter(run['folder'] for run in runs)
    for run in runs:
        if folders[run['folder']] > 1:
            raise InputError(f'two runs would share the folder {run["folder"]}: give data sets '
                             'and labels different names, and each checkpoint and seed once')
        evaluation.check_images(run['config'])
    return runs


def _folder_name(label: str) -> str:
    name = '_'.join(label.lower().replace('+', ' ').replace('/', '-').split())
    # Not the folder of all results or one above it, which a checkpoint may be called.
    if name in ('', '.', '..'):
        raise InputError(f'--labels {label}: the results of a checkpoint need a folder of a name '
                         'of their own, so give it another label')
    return name


def _check_same_recipe(checkpoint: Path, pretraining: Pretraining, label: str, named: dict
                       ) -> None:
    """Refuse to average checkpoints unless they differ only in their seeds."""
    first, other = named.setdefault(label, (checkpoint, pretraining.settings))
    if first is not checkpoint and (other is None or other != pretraining.settings):
        raise InputError(f'{first} and {checkpoint} would both be called {label} and averaged, '
                         'but are not known to differ only in their seeds: name them with --labels')


def choose_configs(args: argparse.Namespace, pretraining: Pretraining
                   ) -> list[tuple[str, str, Path | str, dict]]:
    """Return data set, protocol, config file and options of each run of one checkpoint."""
    if args.configs:
        return [(Path(config).stem.rpartition('_')[2], evaluation.protocol_of(config), config, {})
                for config in args.configs]
    chosen = []
    for data in args.data:
        is_folder = data not in (*DATA, *MORE_DATA, *_OF_OTHER_LABELS)
        unasked = _OF_FOLDERS if is_folder else _OF_OTHER_LABELS.get(data, _OF_DATA_SETS)
        for protocol in args.protocols or unasked:
            name, shown, images = data, data, {}
            if is_folder:
                launch.require_outside(args.work_dir, Path(data).expanduser())
                # The slash marks a folder, which may have the name of a public data set.
                name, shown = 'folder', f'{Path(os.path.abspath(data)).name}/'
                images = evaluation.folder_options(data, PROTOCOLS[protocol].labels)
            config, options = evaluation.find_config(protocol, name, pretraining)
            chosen.append((shown, protocol, config, {**options, **images}))
    return chosen


def main() -> None:
    """Run everything and write the table."""
    args = parse_args()
    results: list[dict] = []
    with launch.one_line_errors(launch.GOES_ON), stopping_children():
        runs = plan(args)
        launch.require_writable(args.work_dir / 'table.md')

        def one(run: dict) -> None:
            metrics = evaluation.evaluate(
                run['config'], run['checkpoint'], run['folder'], args.processes,
                threads=1 if args.jobs > 1 else None, show=() if args.jobs > 1 else SHOWN)
            results.append({**run, 'metrics': metrics})

        try:
            with encoding_once(runs, args.work_dir) as ordered:
                run_together({str(run['folder']): partial(one, run) for run in ordered}, args.jobs)
        finally:
            # Finished runs are shown even if others failed.
            if results:
                order = [run['folder'] for run in runs]
                write(args, sorted(results, key=lambda result: order.index(result['folder'])))


def write(args: argparse.Namespace, results: list[dict]) -> None:
    """Write and print the table."""
    markdown, data = write_table(args.work_dir / 'table', *table_rows(results))
    details = args.work_dir / 'runs.json'
    write_text(details, json.dumps(plain_values([{
        **{key: str(result[key]) for key in _IDENTITY}, 'paper': result['paper'],
        'metrics': result['metrics']} for result in results]), indent=2, allow_nan=False))
    print(markdown.read_text())
    print(f'Also in {markdown} and {data}; all metrics of all runs: {details}')
    if args.report:
        print(f'Report: {write_report(args.work_dir / "report.html", results)}')


if __name__ == '__main__':
    main()
