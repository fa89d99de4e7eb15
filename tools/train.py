"""Train a model from a config: pre-training, fine-tuning, probing."""

from __future__ import annotations

import argparse
import os

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  python tools/train.py CONFIG
  python tools/train.py CONFIG --resume --work-dir work_dirs/first
  python tools/train.py CONFIG --auto-scale-lr --cfg-options train_dataloader.batch_size=64
  python tools/train.py amt_mm::mae/NAME.py --cfg-options randomness.seed=1
  python tools/train.py CONFIG --tensorboard
  tools/dist_train.sh CONFIG 8 --amp bf16

Bad input ends in one line and exit status 2. SIGTERM and SIGUSR1 save after the step at hand
and end with status 75, Ctrl-C (SIGINT) with 130; a second Ctrl-C ends at once. The same command
with --resume goes on from there.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or PACKAGE::FOLDER/NAME.py in an installed '
                        'package')
    arguments.add_shared_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue from a checkpoint; without a name, from the newest intact '
                        'one in the work folder (or from the start if there is none)')
    parser.add_argument('--pretrained', metavar='FILE',
                        help='pre-trained encoder to start from, of this toolbox, mmpretrain, MAE, '
                        'timm, SimMIM, iBOT or DINO; none for random weights (for configs of '
                        'evaluation and detection)')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--amp', nargs='?', const='fp16', choices=['fp16', 'bf16'],
                        help='compute in mixed precision: fp16 (the default; needs a GPU) scales '
                        'the loss, bf16 (CPU or GPU) does not')
    parser.add_argument('--compile', action='store_true',
                        help='compile the network by torch.compile, one graph for each phase of '
                        'masking (needs a C++ compiler; options: compile=dict(...) in the config)')
    parser.add_argument('--tensorboard', action='store_true',
                        help='also write losses and learning rates for TensorBoard')
    parser.add_argument('--wandb', action='store_true',
                        help='also write them for Weights & Biases (pip install wandb), offline '
                        'unless WANDB_MODE says otherwise')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by the batch size of all processes over '
                        'auto_scale_lr.base_batch_size of the config')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.config import Config

from amt_mm.apis import launch
from amt_mm.config.vis_backends import record_in
from amt_mm.engine.precision import fit_precision_to_cpu, use_mixed_precision
from amt_mm.errors import INTERRUPTED_STATUS, InputError, TrainingStopped


def apply_training_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Enter the arguments of training alone in the config.

    Raises:
        InputError: The config or the machine cannot do what is asked for.
    """
    for section in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if cfg.get(section) is None:
            raise InputError(f'config {args.config} has no {section}: nothing to train')
    if args.pretrained is not None:
        hook = (cfg.get('default_hooks') or {}).get('pretrained')
        if hook is None:
            raise InputError(f'--pretrained: config {args.config} has no default_hooks.pretrained '
                             'to load an encoder, as configs of evaluation and detection have')
        if args.pretrained != 'none':
            launch.require_file(args.pretrained, '--pretrained')
        hook.checkpoint = args.pretrained
    launch.enter_encoder(cfg, args.encoder)
    if args.amp:
        use_mixed_precision(cfg, args.amp)
    if args.compile:
        cfg.compile = cfg.get('compile') or True
    for kind in ('tensorboard', 'wandb'):
        if getattr(args, kind):
            record_in(cfg, kind)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise InputError(f'--auto-scale-lr: config {args.config} has no '
                             'auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if int(os.environ.get('TORCHELASTIC_MAX_RESTARTS', 0)) and args.resume != 'auto':
        raise InputError('MAX_RESTARTS needs --resume, without a name: a restarted run continues '
                         'from the newest checkpoint of its work folder')
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if cfg.get('load_from') is not None:
        launch.require_file(cfg.load_from, 'checkpoint')


def main(argv: list[str] | None = None) -> None:
    """Train."""
    args = parse_args(argv)
    with launch.one_line_errors():
        cfg = launch.load_config(args.config, args)
        apply_training_arguments(cfg, args)
        fit_precision_to_cpu(cfg)
        launch.prepare_processes(cfg)
        runner = launch.build_runner(cfg)
        try:
            runner.train()
        except TrainingStopped as stopped:
            launch.warn(stopped.line)
            launch.end_processes()
            raise
        launch.end_processes()


if __name__ == '__main__':
    try:
        main()
    except SystemExit as ended:
        launch.exit_after_gloo(ended.code)
        if ended.code == INTERRUPTED_STATUS:
            launch.end_interrupted()
        raise
    launch.exit_after_gloo()
