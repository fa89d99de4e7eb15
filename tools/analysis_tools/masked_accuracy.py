"""Top-1 of a trained linear head as patches of the test images are painted black.

Painted first are the patches that the encoder itself attends to most, to least, or random ones:
the experiment on masked images of AttMask (ECCV 2022). Its release takes the attention of DINO's
ViT-B/16 for all encoders, as --guide does with any encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import ORDERS

EXAMPLES = """
examples:
  python tools/analysis_tools/masked_accuracy.py \\
    configs/benchmarks/linear/vit-mini-p8_1xb128-last4-coslr-30e_clothing.py \\
    work_dirs/NAME/epoch_30.pth
  python tools/analysis_tools/masked_accuracy.py \\
    work_dirs/evaluate/NAME/HASH/in1k/linear4/seed_0/settings/config.py \\
    work_dirs/evaluate/NAME/HASH/in1k/linear4/seed_0/epoch_100.pth --ratios 0 0.3 0.7 \\
    --guide dino_vitbase16_pretrain.pth

CONFIG is of linear probing or fine-tuning, CHECKPOINT what it trained. Bad input ends in one line
and exit status 2.
"""

EXPLANATION = (
    'A classifier, trained on whole images, sees test images of which a share of the patches is '
    'black. An encoder whose attention lies on the object loses its answer soonest when the most '
    'attended patches go first, and last when the least attended ones do.',
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config that trained the classifier')
    parser.add_argument('checkpoint', help='the trained classifier with its head')
    parser.add_argument('--ratios', nargs='+', type=float,
                        default=[i / 10 for i in range(10)],
                        help='shares of black patches (default: 0 0.1 ... 0.9)')
    parser.add_argument('--orders', nargs='+', choices=tuple(ORDERS), default=list(ORDERS),
                        help='which patches are painted first (default: all three)')
    parser.add_argument('--guide', type=Path, metavar='CHECKPOINT',
                        help='encoder whose attention counts, of any patch size and naming that '
                        'amt evaluate reads (default: the classifier itself)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random order (default: 0)')
    parser.add_argument('--out', type=Path, help='write OUT.md, OUT.json and OUT.html (default: '
                        'masked_accuracy in the work folder, with a guide '
                        'masked_accuracy_by_GUIDE)')
    arguments.add_shared_arguments(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.engine.precision import fit_precision_to_cpu
from amt_mm.errors import InputError
from amt_mm.evaluation.attention_guide import load_guide
from amt_mm.evaluation.masked_accuracy import masked_accuracies
from amt_mm.visualization import Curve, CurvePlot, Report, render, write_table


def main(argv: list[str] | None = None) -> None:
    """Measure, and write the table and the curves."""
    args = parse_args(argv)
    with launch.one_line_errors():
        if args.launcher != 'none':
            raise InputError('--launcher: this tool is one process')
        launch.require_file(args.checkpoint, 'checkpoint')
        if args.guide:
            launch.require_file(str(args.guide), '--guide')
        cfg = launch.load_config(args.config, args)
        if cfg.get('test_dataloader') is None or cfg.get('train_cfg') is None:
            raise InputError(f'config {args.config} trains no classifier: take one of linear '
                             'probing or fine-tuning')
        fit_precision_to_cpu(cfg)
        cfg.resume, cfg.load_from = False, args.checkpoint
        if args.out:
            launch.require_writable(args.out)
        runner = launch.build_runner(cfg, whole=True)
        runner.load_or_resume()
        loader = runner.build_dataloader(runner.cfg.test_dataloader, seed=runner.seed)
        guide = load_guide(args.guide, runner.model.backbone) if args.guide else None
        found = masked_accuracies(runner.model, loader, args.ratios, args.orders, args.seed,
                                  'masked images', guide)
        by = f'_by_{args.guide.stem}' if args.guide else ''
        out = args.out or Path(runner.work_dir) / f'masked_accuracy{by}'
        write(out, args, found, len(loader.dataset))


def write(out: Path, args: argparse.Namespace, found: dict[str, list[float]], images: int) -> None:
    """Write ``out``.md, .json and .html, and print the table."""
    rows = [{'ratio': f'{ratio:g}', **{order: found[order][i] for order in found}}
            for i, ratio in enumerate(args.ratios)]
    columns = {'ratio': 'black', **{order: f'{ORDERS[order]} first, %' for order in found}}
    formats = dict.fromkeys(found, '.1f')
    markdown, data = write_table(out, rows, columns, formats)
    page = out.with_name(f'{out.name}.html')
    curves = [Curve(ORDERS[order], args.ratios, found[order]) for order in found]
    write_text(page, render(Report(
        'Accuracy on masked images', rows, columns, formats,
        notes=[f'Top-1 on {images} test images.'],
        plots=[CurvePlot('Top-1 as patches are painted black', 'share of black patches',
                         'top-1, %', curves)],
        details={'config': str(args.config), 'checkpoint': str(args.checkpoint),
                 'attention': str(args.guide or 'of the classifier itself'),
                 'seed of the random order': str(args.seed)},
        explanation=EXPLANATION)))
    print(markdown.read_text())
    print(f'{images} images. Also in {markdown}, {data} and, as curves, {page}')


if __name__ == '__main__':
    main()
