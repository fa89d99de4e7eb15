"""Measure a checkpoint by the test set and the metrics of a config."""

from __future__ import annotations

import argparse

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  python tools/test.py CONFIG work_dirs/NAME/epoch_90.pth
  python tools/test.py configs/benchmarks/knn/vit-base-p16_knn_stl10.py PRETRAINED.pth
  tools/dist_test.sh CONFIG work_dirs/NAME/epoch_90.pth 8

The metrics are printed and written to a JSON file in the work folder. Bad input ends in one line
and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or PACKAGE::FOLDER/NAME.py in an installed '
                        'package')
    parser.add_argument('checkpoint', help='file, or an address that mmengine can load from; for '
                        'k-NN and low-shot configs a pre-trained encoder of any naming, or none '
                        'for random weights')
    arguments.add_encoder_argument(parser)
    arguments.add_shared_arguments(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.config import Config

from amt_mm.apis import launch
from amt_mm.engine.precision import fit_precision_to_cpu
from amt_mm.errors import InputError


def enter_checkpoint(cfg: Config, checkpoint: str, encoder: str | None = None) -> None:
    """Enter the checkpoint in the config: a whole model, or an encoder where nothing is trained.

    Raises:
        InputError: No such file, or ``--encoder`` with a whole model.
    """
    hook = (cfg.get('default_hooks') or {}).get('pretrained')
    measures_encoder = hook is not None and cfg.get('train_cfg') is None
    if not (measures_encoder and checkpoint == 'none'):
        launch.require_file(checkpoint, 'checkpoint')
    cfg.resume = False
    if measures_encoder:
        hook.checkpoint, cfg.load_from = checkpoint, None
        launch.enter_encoder(cfg, encoder)
    elif encoder is not None:
        raise InputError(f'--encoder {encoder}: this config tests a whole trained model, not a '
                         'pre-trained encoder; choose the encoder when training it')
    else:
        cfg.load_from = checkpoint


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
        enter_checkpoint(cfg, args.checkpoint, args.encoder)
        fit_precision_to_cpu(cfg)
        launch.prepare_processes(cfg)
        launch.build_runner(cfg, whole=True).test()
        launch.end_processes()


if __name__ == '__main__':
    try:
        main()
    except SystemExit as ended:
        launch.exit_after_gloo(ended.code)
        raise
    launch.exit_after_gloo()
