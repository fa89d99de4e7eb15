"""Do single patches stand out in an encoder's features and attention, as sinks do?

Sinks are patches that a transformer uses as scratch space: they have several times the norm of
the others, and [CLS] attends to them instead of the object. Registers are made for them (Darcet
et al., ICLR 2024). For each checkpoint: how large the largest norm is, how many patches have over
twice the median, and how much of the attention falls on these and on the most attended patch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLE = """
example:
  python tools/analysis_tools/sinks.py \\
    configs/clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py work_dirs/*/epoch_30.pth

CONFIG is one that the encoders fit in, of amt_mm's hosts; its `probe.test` has the images. Bad
input ends in one line and exit status 2.
"""

COLUMNS = {'checkpoint': 'checkpoint', 'largest': 'largest norm / median',
           'outliers': 'patches over twice the median, %',
           'outlier_attention': 'attention on them, %',
           'peak': 'attention on the most attended patch, %'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the encoders')
    parser.add_argument('checkpoints', nargs='+', type=Path, help='checkpoints of pre-training')
    parser.add_argument('--encoder', choices=('teacher', 'student'),
                        help='encoder to take from checkpoints that have both (default: teacher)')
    parser.add_argument('--cfg-options', action=arguments.CfgOptions, nargs='+',
                        metavar='KEY=VALUE', help='settings that replace those of the config')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/sinks'),
                        help='write the table to OUT.md and OUT.json (default: %(default)s)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from torch import Tensor, nn

from amt_mm.apis.comparison import check_comparable, resolved
from amt_mm.apis.judging import build_model
from amt_mm.apis.launch import one_line_errors, require_writable
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import whole_images
from amt_mm.evaluation.sinks import sink_measures
from amt_mm.saliency import AttentionTap, patch_features
from amt_mm.visualization import write_table


@torch.no_grad()
def measure(model: nn.Module, cfg: Config) -> tuple[Tensor, Tensor]:
    """Norms of all patches and [CLS] attention to them on the test images, ``(B, N)`` each."""
    count = model.backbone.patch_resolution[0] * model.backbone.patch_resolution[1]
    norms, attention = [], []
    for images in whole_images(model, DATASETS.build(cfg.probe.test)):
        with AttentionTap(model.backbone) as tap:
            norms.append(patch_features(model.backbone, images).norm(dim=2))
        attention.append(tap.cls_attention().mean(dim=1))
        if norms[-1].shape[1] != count:
            raise InputError(f'{type(model.backbone).__name__} sees {norms[-1].shape[1]} of '
                             f'{count} patches: take a config of an amt_mm host, whose encoders '
                             'see whole images')
    return torch.cat(norms), torch.cat(attention)


def main(argv: list[str] | None = None) -> None:
    """Measure each checkpoint and write the table."""
    args = parse_args(argv)
    with one_line_errors():
        require_writable(args.out)
        cfg = resolved(args.config, args.cfg_options)
        check_comparable(args.config, cfg)
        model = build_model(cfg).eval()
        rows = []
        for checkpoint in args.checkpoints:
            load_backbone(model, checkpoint, args.encoder)
            norms, attention = measure(model, cfg)
            rows.append({'checkpoint': str(checkpoint), **sink_measures(norms, attention)})
        formats = {'largest': '.2f', **dict.fromkeys(tuple(COLUMNS)[2:], '.1f')}
        markdown, data = write_table(args.out, rows, COLUMNS, formats)
        print(markdown.read_text())
        print(f'{len(norms)} images, {norms.shape[1]} patches each: even attention would give '
              f'{100 / norms.shape[1]:.1f} % to one. Also in {markdown} and {data}')


if __name__ == '__main__':
    main()
