"""Pre-train a vision transformer on a folder of your own images.

Batch, learning rate and epochs follow from the number of images. With class subfolders, the encoder
is measured on held-out images and compared with an untrained one. The same command continues an
interrupted run.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import RECIPES, SIZES

EXAMPLES = """
examples:
  amt pretrain photographs
  amt pretrain photographs --minutes 60 --out work_dirs/an_hour
  amt pretrain albums --unlabelled
  amt pretrain photographs --size base --epochs 400
  amt pretrain photographs --recipe amt
  amt pretrain photographs --pretrained dinov2_vits14_pretrain.pth

The folder may hold images, a subfolder for each class, or `train` and `val` folders of them;
without `val` or `test`, a fifth of the images is held out.
"""
# Log lines that are shown where there is no terminal for the progress bar.
SHOWN = ('Epoch(train)', 'Saliency refreshed', 'ERROR')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of images')
    parser.add_argument('--out', type=Path, help='folder for checkpoints, logs and results '
                        '(default: work_dirs/pretrain/NAME_OF_FOLDER)')
    parser.add_argument('--recipe', choices=RECIPES, help='recommended (default; docs/recipes.md), '
                        'plain MAE, MAE + AMT as in the paper, or `continue`: the recommended '
                        'one, starting from the encoder of --pretrained')
    parser.add_argument('--pretrained', type=Path, metavar='FILE', help='checkpoint to start from, '
                        'any vision transformer with [CLS] that `amt evaluate` reads (default: '
                        'random weights)')
    parser.add_argument('--unlabelled', action='store_true', help='train on all images below the '
                        'folder: its subfolders are neither classes nor splits, and nothing is '
                        'measured (default: they are, and images are held out to measure)')
    parser.add_argument('--pixels', type=Path, metavar='FILE', help='how to read the images: a '
                        'config of `amt statistics FOLDER --out FILE` (default: as photographs)')
    parser.add_argument('--size', choices=SIZES, help='mini: 2.7 M parameters, 64 pixels; small '
                        '(ViT-S/16) and base (ViT-B/16): 224 pixels (default: small on a GPU, mini '
                        'without)')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, help='passes over the images (default: as many as '
                        'make 100,000 crops, at least 20, at most 400; with --pretrained 40,000 '
                        'crops)')
    length.add_argument('--minutes', type=float, help='approximate training time')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings that replace those of the config, such '
                        'as optim_wrapper.optimizer.lr=1e-3')
    args = parser.parse_args(argv)
    args.recipe = args.recipe or ('continue' if args.pretrained else 'recommended')
    if (args.recipe == 'continue') != (args.pretrained is not None):
        parser.error('--pretrained FILE goes with --recipe continue, and with no other')
    if args.pretrained and args.size:
        parser.error('--size is that of the encoder of --pretrained')
    if any(given is not None and given <= 0 for given in (args.epochs, args.minutes)):
        parser.error('--epochs and --minutes must be positive')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import comparison, jobs, launch, pretraining
from amt_mm.apis.step_times import step_times
from amt_mm.apis.verdict import verdict


def main(argv: list[str] | None = None) -> None:
    """Look, say what is about to happen, train, measure."""
    args = parse_args(argv)
    with launch.one_line_errors(launch.GOES_ON), jobs.stopping_children():
        pretrain(args)


def pretrain(args: argparse.Namespace) -> None:
    """Run the whole of it; see the module."""
    size = args.size or pretraining.default_size()
    start = args.pretrained
    if start:
        launch.require_file(str(start), '--pretrained')
    out = args.out or Path('work_dirs/pretrain') / args.folder.resolve().name
    base = pretraining.base_config(args.folder, size, args.pixels, start,
                                  out / pretraining.REDUCED, args.unlabelled)
    launch.require_outside(out, args.folder)
    launch.require_writable(out / 'result.json')
    images = pretraining.look_at_images(base)
    print(f'images      {images}')
    for line in images.advice:
        launch.warn(line)
    options = {**args.cfg_options, 'randomness.seed': args.seed}
    crops = pretraining.CONTINUED_CROPS if start else None
    if args.epochs:
        crops = args.epochs * images.training
    cfg = pretraining.put_recipe(base, args.recipe, images.training, options, crops)
    if args.minutes:
        crops = pretraining.crops_in(args.minutes, cfg, out)
        cfg = pretraining.put_recipe(base, args.recipe, images.training, options, crops)
    epochs, batch = cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size
    if comparison.check_claim_with_images(cfg, out) and (out / 'result.json').is_file():
        length = 'finished before'
    else:
        seconds, = step_times({args.recipe: cfg}).values()
        minutes = seconds * epochs * -(-images.training // batch) / 60
        length = f'about {minutes:.0f} minutes' if minutes >= 2 else 'less than two minutes'
    print(f'recipe      {args.recipe}, {start or size}: {epochs} epoch{"s" * (epochs > 1)} in '
          f'batches of {batch}, {length}\n'
          f'results     {out}', flush=True)
    show = SHOWN[1:] if sys.stderr.isatty() else SHOWN
    found = comparison.run_resolved(cfg, out, show=show, judge_here=True)
    if images.classes:
        before, folder = (start.name, 'start') if start else ('no training', 'random_init')
        base = comparison.untrained(cfg, out / folder, checkpoint=start or 'none')
        lines = verdict({before: base, args.recipe: found}, before, args.recipe)
        print('\n'.join(['', *lines]))
    checkpoint = out / f'epoch_{epochs}.pth'
    paths = [shlex.quote(str(path)) for path in (checkpoint, args.folder)]
    print(f'\ncheckpoint  {paths[0]}\nnext        amt view {" ".join(paths)}')
    if images.classes:
        # Evaluation stops at the first unreadable image, unless told to leave such out.
        skip = ' --cfg-options overlay.labelled.dataset.skip_unreadable=True'
        print(f'            amt evaluate {" --data ".join(paths)}{skip if images.left_out else ""}')


if __name__ == '__main__':
    main()
