"""Evaluate pre-trained checkpoints: a row of the paper's Table 1 with one command.

Each run (checkpoint x data set x protocol x seed) has a folder of its own; finished
runs are not repeated and broken ones resumed, so the same command goes on where it
stopped. The end is a table in Markdown and JSON, beside the paper's figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

from tqdm import tqdm

from amt_mm.engine import launch, protocols
from amt_mm.engine.jobs import stopping_children
from amt_mm.engine.pretraining import Pretraining, describe
from amt_mm.errors import InputError
from amt_mm.evaluation.rows import table_rows
from amt_mm.visualization import write_table

EXAMPLES = """
examples:
  the row of a checkpoint, on 8 GPUs:
    python tools/evaluate.py work_dirs/NAME/epoch_400.pth --data cifar10 cifar100 \\
      tiny-imagenet stl10 in1k --protocols linear finetune --processes 8
  k-NN and linear accuracy on your own class folders:
    python tools/evaluate.py work_dirs/NAME/epoch_400.pth --data FOLDER
  three checkpoints by configs of your own, two runs at a time:
    python tools/evaluate.py A.pth B.pth C.pth --configs my_configs/*_birds.py --jobs 2

The transformer (arch, patch and image size) is read from the checkpoint. Bad input ends in one
line and exit status 2.
"""

# Of what a run logs, the lines for the terminal; all of it is in its folder.
SHOWN = ('entries of the backbone', 'Epoch(val)', 'Epoch(test)')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='+', type=Path,
                        help='of this toolbox, mmpretrain, official MAE, AMT, iBOT, AttMask or '
                        'DINO, or timm; none for random weights')
    launch.add_encoder_argument(parser)
    parser.add_argument('--data', nargs='+', default=[], metavar='DATA',
                        help=f'{", ".join(protocols.DATA)}, or folders with class subfolders')
    parser.add_argument('--protocols', nargs='+', choices=protocols.PROTOCOLS,
                        default=['knn', 'linear'], help='default: knn linear')
    parser.add_argument('--configs', nargs='+', default=[], metavar='CONFIG',
                        help='config files instead of --data and --protocols: named by protocol '
                        '(their folder) and data set (their name behind the last _)')
    parser.add_argument('--labels', nargs='+', metavar='NAME',
                        help='name of each checkpoint in the table; those of one name are averaged '
                        '(default: what the checkpoint says of its pre-training; without names, '
                        'only seeds of one config are averaged)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0],
                        help='of protocols that train (default: 0)')
    parser.add_argument('--image-size', type=int,
                        help="side of the images in pixels (default: the pre-training's)")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evaluate'),
                        help='default: %(default)s')
    parser.add_argument('--processes', type=int, default=1,
                        help='processes of a run, one per GPU (default: 1)')
    parser.add_argument('--jobs', type=int, default=1,
                        help='runs at a time; with more than one, each gets one CPU thread and '
                        'shows nothing but its end (default: 1)')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=launch.CfgOptions,
                        metavar='KEY=VALUE',
                        help='settings for all runs whose config has them')
    launch.add_trust_argument(parser)
    args = parser.parse_args(argv)
    if args.jobs < 1 or args.processes < 1:
        parser.error('--jobs and --processes must be at least 1')
    if bool(args.data) == bool(args.configs):
        parser.error('give either --data or --configs')
    if args.labels and len(args.labels) != len(args.checkpoints):
        parser.error(f'{len(args.labels)} --labels for {len(args.checkpoints)} checkpoints')
    return args


def plan(args: argparse.Namespace) -> list[dict]:
    """Find and check all runs before the first one starts.

    Returns:
        One a run: ``pretraining``, ``data``, ``protocol``, ``checkpoint``, ``config``
        (resolved), ``folder`` and ``paper``, the row of Table 1 to compare with.
    """
    runs, numbers, configs, named = [], {}, set(), {}
    for i, checkpoint in enumerate(args.checkpoints):
        pretraining = describe(checkpoint, args.encoder)
        label = args.labels[i] if args.labels else pretraining.recipe or checkpoint.stem
        if args.encoder and not args.labels:
            label = f'{label}, {args.encoder}'
        if not args.labels:
            _check_alike(checkpoint, pretraining, label, named)
        numbers[label] = numbers.get(label, -1) + 1
        for data, protocol, config, options in chosen(args, pretraining):
            configs.add(config)
            if args.image_size:
                options = {**options, 'overlay.image_size': args.image_size}
            # The others draw nothing, or always the same.
            seeds = args.seeds if protocol in protocols.TRAINED else args.seeds[:1]
            for seed in seeds:
                cfg = protocols.fitted(config, pretraining, {
                    **options, **args.cfg_options, 'randomness.seed': seed})
                launch.enter_encoder(cfg, args.encoder)
                name = '_'.join(label.lower().replace('+', ' ').replace('/', '-').split())
                folder = args.work_dir / name / str(numbers[label]) / data.rstrip('/') / protocol
                runs.append(dict(
                    pretraining=label, data=data, protocol=protocol, seed=seed, config=cfg,
                    checkpoint=checkpoint, folder=folder / f'seed_{seed}',
                    paper=pretraining.row if data in args.data else None))
    protocols.refuse_unknown(args.cfg_options, sorted(configs))
    for run in runs:
        if sum(run['folder'] == other['folder'] for other in runs) > 1:
            raise InputError(f'two runs would share the folder {run["folder"]}: give data sets '
                             'and labels names that differ')
        protocols.check_images(run['config'])
    return runs


def _check_alike(checkpoint: Path, pretraining: Pretraining, label: str, named: dict) -> None:
    """Refuse to average what is not the same recipe with another seed."""
    first, other = named.setdefault(label, (checkpoint, pretraining.settings))
    if first is not checkpoint and (other is None or other != pretraining.settings):
        raise InputError(f'{first} and {checkpoint} would both be called {label} and averaged, and '
                         'are not known to differ in their seeds alone: name them by --labels')


def chosen(args: argparse.Namespace, pretraining: Pretraining
           ) -> list[tuple[str, str, Path, dict]]:
    """Data set, protocol, config file and options of each run of one checkpoint."""
    if args.configs:
        for config in args.configs:
            launch.require_file(config, 'config')
            if protocols.protocol_of(Path(config)) not in protocols.PROTOCOLS:
                raise InputError(f'config {config}: lay it in a folder named by its protocol, '
                                 f'one of {", ".join(protocols.PROTOCOLS)}, or linear with -last4- '
                                 'in its name')
        return [(path.stem.rpartition('_')[2], protocols.protocol_of(path), path, {})
                for path in map(Path, args.configs)]
    pairs = []
    for data, protocol in itertools.product(args.data, args.protocols):
        name, options = data, {}
        if data not in protocols.DATA:
            name, options = 'folder', protocols.folder_options(data)
        # Marked as a folder, which may be named as a public data set is.
        shown = f'{Path(data).absolute().name}/' if options else data
        pairs.append((shown, protocol, protocols.find_config(protocol, name, pretraining),
                      options))
    return pairs


def main() -> None:
    """Run everything and write the table."""
    args = parse_args()
    results: list[dict] = []
    with launch.one_line_errors(launch.GOES_ON), stopping_children():
        runs = plan(args)
        launch.require_writable(args.work_dir / 'table.md')

        def one(run: dict) -> None:
            metrics = protocols.evaluate(
                run['config'], run['checkpoint'], run['folder'], args.processes,
                threads=1 if args.jobs > 1 else None, show=() if args.jobs > 1 else SHOWN)
            results.append({**{key: str(run[key]) for key in ('pretraining', 'data', 'protocol',
                                                              'seed', 'checkpoint')},
                            'paper': run['paper'], 'metrics': metrics, 'folder': run['folder']})

        try:
            with ThreadPoolExecutor(args.jobs) as pool:
                list(tqdm(pool.map(one, runs), total=len(runs), unit='run', disable=None))
        finally:
            # What is finished is shown, also when the rest failed.
            if results:
                order = [run['folder'] for run in runs]
                write(args, sorted(results, key=lambda result: order.index(result.pop('folder'))))


def write(args: argparse.Namespace, results: list[dict]) -> None:
    """Write and print the table."""
    markdown, data = write_table(args.work_dir / 'table', *table_rows(results))
    details = args.work_dir / 'runs.json'
    details.write_text(json.dumps(results, indent=2))
    print(markdown.read_text())
    print(f'Also in {markdown} and {data}; all metrics of all runs: {details}')


if __name__ == '__main__':
    main()
