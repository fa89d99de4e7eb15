"""Memory of a training step, computed from tensor sizes: state and activations, in bf16.

In the random phase, which has the most tokens. Counted on small copies of the networks on the CPU
(lab/cost/memory.py); a GPU's own buffers, data and fragmentation come on top.
"""

from __future__ import annotations

import argparse

from amt_mm.cli import parse_first

COLUMNS = {'config': 'config', 'parameters': 'parameters, M', 'state': 'state, GB',
           'sharded': 'sharded by 8', 'image': 'activations, MB an image',
           'again': 'with_cp', 'total': 'GB at batch {}', 'total_again': 'with_cp, GB'}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs of hosts of amt_mm')
    parser.add_argument('--batch-size', type=int, default=512,
                        help='images a GPU and step (default: 512)')
    args = parser.parse_args()
    if args.batch_size < 1:
        parser.error('--batch-size must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.config import Config
from mmpretrain.registry import MODELS

from amt_mm.apis import launch
from amt_mm.apis.comparison import resolved
from amt_mm.errors import InputError
from amt_mm.models import Host
from amt_mm.visualization.tables import markdown_table
from lab.cost.memory import memory_of


def row(path: str, batch_size: int) -> dict:
    """Memory of a config, with and without recomputed blocks."""
    cfg = resolved(path)
    if not issubclass(MODELS.get(cfg.model.type), Host):
        raise InputError(f'{path}: {cfg.model.type} is not a host of amt_mm, and memory is known '
                         'only for hosts')
    plain, again = (memory_of(_recomputing(cfg, with_cp)) for with_cp in (False, True))
    # Recomputed blocks make their activations and copies anew, one block at a time.
    inside = plain.block * batch_size
    return dict(
        config=path.rpartition('/')[2].removesuffix('.py'), parameters=plain.parameters / 1e6,
        state=plain.state() / 1e9, sharded=plain.state(8) / 1e9,
        image=plain.image / 1e6, again=again.image / 1e6,
        total=(plain.state() + plain.copies + plain.image * batch_size) / 1e9,
        total_again=(plain.state() + again.copies + again.image * batch_size + inside) / 1e9)


def _recomputing(cfg: Config, with_cp: bool) -> Config:
    cfg.model.backbone.with_cp = with_cp
    if cfg.model.neck.type == 'amt_mm.AMTMAEDecoder':
        cfg.model.neck.with_cp = with_cp
    return cfg


def main() -> None:
    """Count and print the table."""
    args = parse_args()
    with launch.one_line_errors():
        rows = [row(path, args.batch_size) for path in args.configs]
        columns = {**COLUMNS, 'total': COLUMNS['total'].format(args.batch_size)}
        print(markdown_table(rows, columns, {name: '.1f' for name in columns if name != 'config'}))


if __name__ == '__main__':
    main()
