"""Time saved by options of the saliency refresh, and their effect on the maps.

For smaller whole images, bf16 and rotating parts: milliseconds per image, relative to the full
refresh in fp32; the refreshes' share of the config's run by multiply-adds and by these times
(forward and backward of training steps, before and in the guided phase, in the same rounds); and,
with a checkpoint, the rank correlation (Spearman) of the maps of training images with those of the
full refresh, on its grid, compared with that of the full maps averaged over as few cells.
Checkpoints of earlier refreshes show the cost of keeping old maps: of one refresh ago for parts=2,
of two for parts=3. Without a checkpoint, images are artificial and only times are measured. All
take turns within each round; medians; processor time on a CPU.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
examples:
  python -m lab.refresh_options \\
    configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py
  python -m lab.refresh_options CONFIG work_dirs/NAME/epoch_24.pth \\
    --older work_dirs/NAME/epoch_16.pth work_dirs/NAME/epoch_8.pth
"""
COLUMNS = {
    'option': 'option', 'grid': 'map', 'ms': 'ms an image', 'ratio': 'ratio',
    'multiply_adds': 'of a run, multiply-adds', 'fp32': 'of an fp32 run', 'bf16': 'of a bf16 run',
    'loading': 'of an fp32 run, with loading', 'mean': 'rank correlation, mean',
    'low': 'lower quartile', 'median': 'median', 'high': 'upper quartile',
    'ceiling': 'full maps on this grid, mean'}
FORMATS = {'ms': '.2f', 'ratio': '.2f', 'multiply_adds': '.2%', 'fp32': '.2%', 'bf16': '.2%',
           'loading': '.2%', 'mean': '.3f', 'low': '.3f', 'median': '.3f', 'high': '.3f',
           'ceiling': '.3f'}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file with a SaliencyUpdateHook')
    parser.add_argument('checkpoint', nargs='?', help='trained with it; its maps are compared')
    parser.add_argument('--older', nargs='+', default=[], metavar='CHECKPOINT',
                        help='of one refresh ago, of two refreshes ago, ...')
    parser.add_argument('--heights', nargs='+', type=int, help='heights of smaller images '
                        '(default: 5/7 and 4/7 of the crops, 160 and 128 of 224)')
    parser.add_argument('--parts', nargs='+', type=int, default=[2, 3, 4],
                        help='numbers of parts (default: 2 3 4)')
    parser.add_argument('--images', type=int, default=1024,
                        help='images whose maps are compared (default: 1024)')
    parser.add_argument('--batch-size', type=int, default=16, help='default: 16')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds (default: 9)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/refresh_options'),
                        help='write the table to OUT.md and OUT.json, all rounds to '
                        'OUT.rounds.json (default: %(default)s)')
    args = parser.parse_args()
    if min(args.images, args.batch_size, args.rounds, *(args.heights or ()), *args.parts) < 1:
        parser.error('--images, --batch-size, --rounds, --heights and --parts must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import numpy as np
import torch
from mmpretrain.registry import DATASETS
from torch.utils.data import default_collate as stack

from amt_mm.apis import comparison, judging, launch
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.visualization import write_table
from lab.cost import refresh_options as measure
from lab.cost.refresh_cost import run_cost


def main() -> None:
    """Measure and print the table."""
    args = parse_args()
    with launch.one_line_errors():
        launch.require_writable(args.out)
        for path in (args.checkpoint, *args.older):
            if path is not None:
                launch.require_file(path, 'checkpoint')
        if args.older and not args.checkpoint:
            raise InputError('--older is compared with a checkpoint: name that, too')
        cfg = comparison.resolved(args.config)
        run_cost(cfg)  # tells at once if there is nothing to measure
        model = judging.build_model(cfg)
        size = tuple(side * model.backbone.patch_size for side in model.backbone.grid)
        ways = measure.options(size, model.backbone.patch_size, args.heights, args.parts)
        dataset = DATASETS.build(cfg.train_dataloader.dataset) if args.checkpoint else None
        found = compare(args, model, dataset, ways) if dataset else {}
        times = clock(args, model, dataset, ways, size)
        rows = [row(cfg, way, times, found.get(way.name), model) for way in ways]
        # Those of maps that were not renewed for so many refreshes.
        rows += [{'option': name, **each} for name, each in found.items()
                 if name not in {way.name for way in ways}]
        columns = {name: title for name, title in COLUMNS.items()
                   if any(each.get(name) is not None for each in rows)}
        formats = {name: spec for name, spec in FORMATS.items() if name in columns}
        markdown, data = write_table(args.out, rows, columns, formats)
        rounds = args.out.with_name(args.out.name + '.rounds.json')
        rounds.write_text(json.dumps({name: each.tolist() for name, each in times.items()},
                                     indent=2))
        print(markdown.read_text())
        steps = ', '.join(f'{name} {1000 * float(np.median(each)):.2f}'
                          for name, each in times.items() if name.startswith('step'))
        print(f'ms an image of training, forward and backward: {steps}. {args.rounds} rounds in '
              f'turn, batch {args.batch_size}, {model.data_preprocessor.device}, '
              f'{torch.get_num_threads()} threads, torch {torch.__version__}.\n'
              f'Also in {markdown}, {data} and {rounds}')


def compare(args: argparse.Namespace, model: torch.nn.Module, dataset: torch.utils.data.Dataset,
            ways: list[measure.Option]) -> dict[str, dict[str, float]]:
    """Rank correlations with the full refresh, for the table, by each option's name."""
    chosen = measure.evenly(dataset, args.images)
    full, history = ways[0].settings, []
    for older in reversed(args.older):
        load_backbone(model, older)
        history.insert(0, measure.maps_of(model, dataset, chosen, full, args.batch_size))
    load_backbone(model, args.checkpoint)
    made = {}
    for way in ways:
        if way.settings not in made:
            made[way.settings] = measure.maps_of(model, dataset, chosen, way.settings,
                                                 args.batch_size)
    history.insert(0, made[full])
    found = {}
    for way in ways:
        maps = measure.of_different_age(history, chosen, way.parts) if way.parts > 1 else made[
            way.settings]
        if maps is not None and way.name != ways[0].name:
            found[way.name] = quartiles(measure.agreement(maps, history[0]))
            if maps.shape != history[0].shape:
                coarse = measure.on_grid(history[0], tuple(maps.shape[1:]))
                found[way.name]['ceiling'] = float(measure.agreement(coarse, history[0]).mean())
    for age, maps in enumerate(history[1:], start=1):
        found[f'not renewed for {age} refresh{"es" if age > 1 else ""}'] = quartiles(
            measure.agreement(maps, history[0]))
    return found


def clock(args: argparse.Namespace, model: torch.nn.Module,
          dataset: torch.utils.data.Dataset | None, ways: list[measure.Option],
          size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Seconds an image of each option, of training steps and, with a data set, of loading."""
    tasks = {}
    chosen = measure.evenly(dataset, args.batch_size) if dataset else range(args.batch_size)
    for way in ways:
        if way.parts > 1:
            continue
        shape = way.settings.size or size
        if dataset:
            view = way.settings.view(dataset)
            images = torch.stack([view[i]['inputs'] for i in chosen])
            tasks[f'loading {shape[0]}x{shape[1]}'] = lambda view=view: stack(
                [view[i]['inputs'] for i in chosen])
        else:
            images = torch.randint(256, (args.batch_size, 3, *shape), dtype=torch.uint8)
        tasks[way.name] = lambda way=way, images=images: way.settings.of_batch(
            model, {'inputs': images})
    if dataset:
        tasks['loading crops'] = lambda: stack([dataset[i]['inputs'] for i in chosen])
    crops = torch.randint(256, (args.batch_size, 3, *size), dtype=torch.uint8)
    for precision in ('fp32', 'bf16'):
        for phase in ('warm-up', 'guided'):
            tasks[f'step {phase} {precision}'] = (
                lambda phase=phase, precision=precision: measure.training_step(
                    model, crops, phase == 'guided', precision == 'bf16'))
    model.train()
    times = measure.take_turns(tasks, args.rounds, torch.device(model.data_preprocessor.device))
    return {name: each / len(chosen) for name, each in times.items()}


def row(cfg: object, way: measure.Option, times: dict[str, np.ndarray],
        found: dict[str, float] | None, model: torch.nn.Module) -> dict:
    """One line of the table."""
    run = run_cost(cfg, parts=way.parts, image_size=way.settings.image_size)
    name = 'full' if way.parts > 1 else way.name
    median = {task: float(np.median(each)) for task, each in times.items()}
    grid = way.settings.grid(model.backbone)
    line = {'option': way.name, 'grid': f'{grid[0]}x{grid[1]}', 'ms': 1000 * median[name],
            'ratio': float(np.median(times[name] / times['full'])), 'multiply_adds': run.share}
    for precision in ('fp32', 'bf16'):
        line[precision] = run.share_of(median[name], *(median[f'step {phase} {precision}']
                                                       for phase in ('warm-up', 'guided')))
    if 'loading crops' in median:
        size = tuple(side * model.backbone.patch_size for side in grid)
        line['loading'] = run.share_of(
            median[name] + median[f'loading {size[0]}x{size[1]}'],
            *(median[f'step {phase} fp32'] + median['loading crops']
              for phase in ('warm-up', 'guided')))
    return {**line, **(found or {})}


def quartiles(found: torch.Tensor) -> dict[str, float]:
    """Mean and quartiles for the table."""
    low, median, high = np.quantile(found, [.25, .5, .75])
    return {'mean': float(found.mean()), 'low': low, 'median': median, 'high': high}


if __name__ == '__main__':
    main()
