"""Show what an encoder does with your images: one HTML page, and its pictures as PNG files.

The page shows where [CLS] looks in every block and head, how often each patch is masked, thrown
and visible over 200 plans, what a MAE's decoder reconstructs, the principal components of the
patch features as colours, and nearest neighbours within the folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  amt view work_dirs/NAME/epoch_400.pth photographs
  amt view dino_vitbase16_pretrain.pth photographs --images 12 --seed 3
  amt view ibot.pth photographs --encoder student --image-size 448 --out pages/ibot

The checkpoint may be of this toolbox, mmpretrain, timm, transformers, lightly or the official MAE,
AMT, SimMIM, iBOT, AttMask or DINO (1 to 3). Class subfolders are optional; with them, images are
spread over the classes and neighbours have class names. Bad input ends in one line and exit
status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='a pre-trained vision transformer')
    parser.add_argument('folder', type=Path, help='folder of images')
    parser.add_argument('--images', type=int, metavar='N',
                        help='number of images shown (default: 8, or all of a smaller folder)')
    parser.add_argument('--seed', type=int, default=0,
                        help='chooses images and draws masks (default: 0)')
    parser.add_argument('--image-size', type=int,
                        help='image size in pixels (default: that of the pre-training, else 224)')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder of the results (default: work_dirs/view/RUN/NAME, of the '
                        'checkpoint work_dirs/RUN/NAME.pth)')
    arguments.add_trust_argument(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis.launch import one_line_errors
from amt_mm.apis.view import view


def default_out(checkpoint: Path) -> Path:
    """Return a folder for each checkpoint: with many recipes and seeds, names of files recur."""
    # Unlike `absolute`, without `..`.
    path = Path(os.path.abspath(checkpoint))
    base = next(base for base in (os.path.abspath('work_dirs'), os.getcwd(), path.anchor)
                if path.is_relative_to(base))
    return ('work_dirs/view' / path.relative_to(base)).with_suffix('')


def main(argv: list[str] | None = None) -> None:
    """Write the page and say where it is."""
    args = parse_args(argv)
    with one_line_errors():
        out = args.out or default_out(args.checkpoint)
        page = view(args.checkpoint, args.folder, out, args.images, args.seed, args.image_size,
                    args.encoder)
        print(f'page      {page}')
        print(f'pictures  {out}/*/*.png')


if __name__ == '__main__':
    main()
