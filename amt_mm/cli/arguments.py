"""Arguments that several tools share; parsing them imports neither torch nor MMEngine."""

from __future__ import annotations

import argparse
import os

from ..names import ENCODERS, TRUST
from .option_values import read_value


class CfgOptions(argparse.Action):
    """``KEY=VALUE`` pairs as :func:`~amt_mm.cli.option_values.read_value` reads them."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Collect the pairs in the namespace; a malformed one is a usage error."""
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, value = pair.partition('=')
            try:
                if not (key and equals):
                    raise ValueError
                options[key] = read_value(value)
            except ValueError as error:
                raise argparse.ArgumentError(
                    self, f'expected KEY=VALUE with balanced brackets, got {pair!r}') from error
        setattr(namespace, self.dest, options)


class _Trust(argparse.Action):
    """A flag that lets checkpoints run code, in this process and in those it starts."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Enter it in the environment."""
        os.environ[TRUST] = '1'


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument('--trust-checkpoint', nargs=0, action=_Trust, dest=argparse.SUPPRESS,
                        help='run the code in checkpoints that contain more than weights and '
                        'curves (default: refuse them); only for files whose author you trust')


def add_encoder_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--encoder``."""
    parser.add_argument('--encoder', choices=ENCODERS,
                        help='encoder to take from a checkpoint that has both (default: the '
                        'teacher, if there is one)')


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing have in common."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dir of '
                        'the config, else ./work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='replace settings of the config: model.backbone.arch=deit-small '
                        'train_dataloader.batch_size=64 "test_cfg.scales=[1,2]" '
                        '"train_dataloader.dataset.data_root=/data/my photos"')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='launcher of the processes; dist_*.sh and slurm_train.sh set it '
                        '(default: none, one process)')
    add_trust_argument(parser)
    # torch.distributed.launch passes it; torchrun gives LOCAL_RANK in the environment.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0,
                        help=argparse.SUPPRESS)
