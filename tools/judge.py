"""Measure the encoder of a checkpoint on the labelled images that its config names as ``probe``.

k-NN and linear accuracy, and attention on the object where there are masks; printed, and
written to <work-dir>/measures.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

from amt_mm.engine import comparison, launch
from amt_mm.engine.safe_save import write_text

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
    parser.add_argument('checkpoint', help='what it has trained')
    parser.add_argument('--work-dir', type=Path, required=True, help='folder of measures.json')
    launch.add_encoder_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', default={}, action=launch.CfgOptions,
                        metavar='KEY=VALUE', help='settings for the config')
    return parser.parse_args()


def main() -> None:
    """Measure."""
    args = parse_args()
    with launch.one_line_errors():
        launch.require_file(args.config, 'config')
        launch.require_file(args.checkpoint, 'checkpoint')
        launch.require_writable(args.work_dir / 'measures.json')
        cfg = comparison.resolved(args.config, args.cfg_options)
        comparison.check_comparable(args.config, cfg)
        measures = comparison.judge_checkpoint(cfg, Path(args.checkpoint), encoder=args.encoder)
        text = json.dumps(measures, indent=2)
        write_text(args.work_dir / 'measures.json', text + '\n')
        print(text)


if __name__ == '__main__':
    main()
