"""Write the features of every image of a folder into one file, for search, clustering or probes.

Images are in the order of their sorted paths, cut as in evaluation; unreadable ones are named and
left out. No labels are needed. The same command continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import TOKENS

EXAMPLES = """
examples:
  amt embed work_dirs/NAME/epoch_400.pth photographs photographs.npz
  amt embed dino_vitbase16_pretrain.pth photographs a.parquet --blocks -4 -3 -2 -1 --tokens cls
  amt embed ibot.pth photographs a.pt --tokens patches --half --encoder student --image-size 448

The suffix of OUT gives the format:
  .npz      arrays names (n) and features (n, F), or (n, N, F) for patches
  .pt       a dictionary of names, features and settings
  .parquet  columns path and features, one row an image; needs pyarrow

The checkpoint may be of this toolbox, mmpretrain, timm, transformers, lightly or the official MAE,
AMT, SimMIM, iBOT, AttMask or DINO (1 to 3). Bad input ends in one line and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='a pre-trained vision transformer')
    parser.add_argument('folder', type=Path, help='folder of images, with or without subfolders')
    parser.add_argument('out', metavar='OUT', type=Path, help='file to write')
    parser.add_argument('--tokens', choices=TOKENS,
                        help='[CLS], the mean of the patch tokens, both joined, or all patch '
                        'tokens (default: mean for encoders of MAE, SimMIM and MaskFeat and for '
                        'those without [CLS], else cls; the last line says which)')
    parser.add_argument('--blocks', nargs='+', type=int, default=[-1], metavar='I',
                        help='blocks, from 0, or negative from the end; several are joined, '
                        'earliest first (default: the last)')
    parser.add_argument('--image-size', type=int,
                        help='image size in pixels (default: that of the pre-training, else 224)')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--half', action='store_true', help='compute and store fp16')
    parser.add_argument('--batch-size', type=int, default=64, help='default: %(default)s')
    parser.add_argument('--workers', type=int, default=2,
                        help='processes that load images (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=1, metavar='N',
                        help='encode in N processes, on GPUs in turn (default: 1)')
    parser.add_argument('--force', action='store_true', help='replace OUT')
    arguments.add_trust_argument(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis.embed import embed
from amt_mm.apis.launch import GOES_ON, one_line_errors


def main(argv: list[str] | None = None) -> None:
    """Write the file and say what is in it."""
    args = parse_args(argv)
    with one_line_errors(GOES_ON):
        done = embed(args.checkpoint, args.folder, args.out, args.tokens, args.blocks,
                     args.image_size, args.encoder, args.half, args.batch_size, args.workers,
                     args.processes, args.force)
        print(f'{args.out}: {done.shape[0]} images'
              + (f' ({done.left_out} left out)' if done.left_out else '')
              + f', {" x ".join(map(str, done.shape[1:]))} {done.dtype} each: {done.what}')


if __name__ == '__main__':
    main()
