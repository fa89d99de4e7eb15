"""Measure a checkpoint by the test set and the metrics of a config."""

from __future__ import annotations

import argparse
import sys

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

from amt_mm.engine import launch
from amt_mm.errors import InputError

EXAMPLES = """
examples:
  python tools/test.py CONFIG work_dirs/NAME/epoch_90.pth
  tools/dist_test.sh CONFIG work_dirs/NAME/epoch_90.pth 8

The metrics are printed and written to a JSON file in the work folder. Bad input ends in one line
and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or PACKAGE::FOLDER/NAME.py for one that an '
                        'installed package carries')
    parser.add_argument('checkpoint', help='file, or an address that mmengine can load from')
    launch.add_shared_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Test."""
    args = parse_args(argv)
    with launch.one_line_errors():
        cfg = launch.load_config(args.config, args)
        for section in ('test_dataloader', 'test_cfg', 'test_evaluator'):
            if cfg.get(section) is None:
                raise InputError(f'config {args.config} has no {section}: there is nothing to '
                                 'test (a pre-training config has none; take one that measures, '
                                 'such as fine-tuning or linear probing)')
        launch.require_file(args.checkpoint, 'checkpoint')
        cfg.load_from, cfg.resume = args.checkpoint, False
        launch.use_full_precision_on_cpu(cfg)
        launch.prepare_processes(cfg)
        launch.build_runner(cfg, whole=True).test()
        launch.end_processes()


if __name__ == '__main__':
    main()
    launch.exit_after_gloo()
