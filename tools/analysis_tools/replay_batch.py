"""Repeat a step of training whose loss or gradient was not finite, and say what broke it.

amt_mm.NanGuardHook writes such a step to <work_dir>/nonfinite. With its weights, batches,
plans and random states, forward and backward are repeated here: which samples and which module
a value that is not finite first comes from, and which gradients it reaches. On the same kind of
machine, with the same number of threads, losses are the same to the last bit; the tool says
whether they are. No code from the file is run.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
example:
  python tools/analysis_tools/replay_batch.py work_dirs/NAME/nonfinite/iter_1234_rank0.pt
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path, help='what the hook wrote')
    parser.add_argument('--config', help='config of the run (default: its settings in the file, '
                        'as far as they are literals)')
    parser.add_argument('--rows', type=int, default=10,
                        help='samples and gradients to list, worst first (default: 10)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.config import Config
from mmengine.device import get_device

from amt_mm.apis import launch
from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.config.overlay import apply_overlay
from amt_mm.config.reading import read_config
from amt_mm.engine.precision import fit_precision_to_cpu
from amt_mm.errors import InputError
from amt_mm.printable import printable
from amt_mm.reliability.replay import Replay, check_types, replay_step
from amt_mm.reliability.step_record import read_step
from amt_mm.visualization.tables import markdown_table


def config_of(content: dict, args: argparse.Namespace) -> Config:
    """The config of the run, from ``--config`` or from the literals in the file.

    Raises:
        InputError: The file's does not say enough, or more than literals of a registry.
    """
    if args.config:
        return apply_overlay(read_config(args.config))
    settings = read_config_text(content['config'])
    kept = {name: settings[name] for name in ('model', 'data_preprocessor', 'optim_wrapper',
                                              'default_scope') if name in settings}
    if not {'model', 'optim_wrapper'} <= set(kept):
        raise InputError(f'{args.file}: the config in it has no model and optim_wrapper that are '
                         'plain literals: give the run\'s with --config')
    kept['optim_wrapper'] = {key: kept['optim_wrapper'][key] for key in ('type', 'dtype')
                             if key in kept['optim_wrapper']}
    check_types(kept, str(args.file))
    return Config(kept)


def sample_table(replay: Replay, most: int) -> str:
    """The samples, those without a finite loss or in the rows that broke first."""
    rows = []
    for number, batch in enumerate(replay.samples):
        broken = replay.where['rows'] if replay.where and replay.where['batch'] == number else []
        for place, sample in enumerate(batch):
            loss = sample['loss']
            shown = loss if loss is None or math.isfinite(loss) else str(loss)
            # Those that broke first, then those without a finite loss, then by loss.
            order = (place not in broken, not isinstance(shown, str), -(loss or 0)
                     if shown is loss else 0)
            rows.append((order, {
                'batch': number + 1, 'row': place, 'sample': sample.get('sample_idx'),
                'file': sample.get('img_path'), 'loss': shown,
                'first': 'yes' if place in broken else ''}))
    rows = [row for _, row in sorted(rows, key=lambda pair: pair[0])[:most]]
    return markdown_table(rows, {'sample': 'sample', 'batch': 'batch', 'row': 'row',
                                 'file': 'file', 'loss': 'loss', 'first': 'broke first'},
                          {'loss': '.6g'})


def gradient_table(replay: Replay, most: int) -> str:
    """Largest gradients, those that are not finite before all others."""
    worst = sorted(replay.gradients.items(), key=lambda pair: (
        math.isfinite(pair[1]), -pair[1] if math.isfinite(pair[1]) else 0))[:most]
    return markdown_table(
        [{'name': name, 'largest': value if math.isfinite(value) else str(value)}
         for name, value in worst],
        {'name': 'parameter', 'largest': 'largest gradient'}, {'largest': '.6g'})


def report(content: dict, replay: Replay, most: int) -> str:
    """All of it as text."""
    lines = [f'{content["what"]}', f'rank {content["rank"]} of {content["world_size"]}, epoch '
             f'{content["epoch"]}, {len(content["batches"])} batches in this step', '']
    if replay.weights:
        lines.append(f'weights that were not finite before the step: {len(replay.weights)} '
                     f'({", ".join(replay.weights[:3])})')
    for number, losses in enumerate(replay.losses):
        for name, (was, now) in losses.items():
            lines.append(f'{name} of batch {number + 1}: {was!r} in training, {now!r} repeated')
    lines.append('the repeated losses are those of training, bit for bit' if replay.equal else
                 'the repeated losses differ from training: another device, number of threads or '
                 f'version, or compiled training (recorded on {content["device"]} with '
                 f'{content["versions"]})')
    where = replay.where
    if where is None:
        lines.append('every module\'s output is finite')
    else:
        how = 'it had entered there already' if where['entered'] else 'all that entered is finite'
        lines.append(f'first value that is not finite: output of {where["module"]} '
                     f'({where["kind"]}), batch {where["batch"] + 1}; {how}')
    broken = sum(not math.isfinite(value) for value in replay.gradients.values())
    lines.append(f'{broken} of {len(replay.gradients)} gradients are not finite')
    return '\n'.join([*lines, '', sample_table(replay, most), gradient_table(replay, most)])


def main(argv: list[str] | None = None) -> None:
    """Repeat the step and print what it shows."""
    args = parse_args(argv)
    with launch.one_line_errors():
        content = read_step(args.file)
        cfg = config_of(content, args)
        fit_precision_to_cpu(cfg)
        print(printable(report(content, replay_step(content, cfg, get_device()), args.rows)))


if __name__ == '__main__':
    main()
