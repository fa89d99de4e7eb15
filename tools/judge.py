"""Evaluate the encoder of a checkpoint on the labelled images of its config's ``probe``.

k-NN and linear accuracy, and attention on the object if there are masks; printed and written to
<work-dir>/measures.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLE = """
example:
  python tools/judge.py configs/clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py \\
    work_dirs/amt/epoch_30.pth --work-dir work_dirs/amt
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the pre-training, with `probe`')
    parser.add_argument('checkpoint', help='checkpoint of that pre-training, or none for the '
                        'encoder as it is initialised')
    parser.add_argument('--out', '--work-dir', dest='work_dir', type=Path, required=True,
                        help='folder of measures.json')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings for the config')
    return parser.parse_args()


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import comparison, launch
from amt_mm.apis.judging import judge_into


def main() -> None:
    """Evaluate the checkpoint."""
    args = parse_args()
    with launch.one_line_errors():
        if args.checkpoint != 'none':
            launch.require_file(args.checkpoint, 'checkpoint')
        launch.require_writable(args.work_dir / 'measures.json')
        cfg = comparison.resolved(args.config, args.cfg_options)
        comparison.check_comparable(args.config, cfg)
        measures = judge_into(args.work_dir, cfg, args.checkpoint, args.encoder)
        print(json.dumps(measures, indent=2))


if __name__ == '__main__':
    main()
