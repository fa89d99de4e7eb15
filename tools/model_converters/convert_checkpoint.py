"""Turn a checkpoint into the names of another code base, encoder and decoder."""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import ENCODERS, NAMINGS

EXAMPLES = """
namings:
  mmpretrain  this toolbox, mmpretrain and mmdet: backbone.layers.0.ln1, neck.decoder_blocks.0.ln1
  mae         MAE and AMT's release on MAE: blocks.0.norm1, decoder_blocks.0.norm1
  timm        timm's VisionTransformer: blocks.0.norm1, no decoder
  simmim      SimMIM and AMT's release on it: encoder.blocks.0.norm1, decoder.0
  ibot        iBOT and AttMask, student and teacher: backbone.blocks.0.norm1, head.last_layer
  dino        DINO: the same without masks
  transformers  ViTModel and ViTMAEForPreTraining: vit.encoder.layer.0.layernorm_before, decoder.
The naming of SRC is detected.

examples:
  python tools/model_converters/convert_checkpoint.py mae_pretrain_vit_base.pth mae.pth
  python tools/model_converters/convert_checkpoint.py epoch_400.pth vit.safetensors --to timm
  python tools/model_converters/convert_checkpoint.py epoch_400.pth epoch_400_mae.pth --to mae
  python tools/model_converters/convert_checkpoint.py attmask.pth student.pth --to timm \
    --encoder student

Training and evaluation here convert by themselves; this is for other code. Optimisers are not
converted. Bad input ends in one line and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='SRC', type=Path, help='checkpoint to convert')
    parser.add_argument('target', metavar='DST', type=Path,
                        help='file to write: .safetensors, or .pth or .pt for torch')
    parser.add_argument('--to', choices=NAMINGS, default='mmpretrain',
                        help='naming to convert to (default: %(default)s)')
    parser.add_argument('--encoder-only', action='store_true',
                        help='leave decoder and head out')
    parser.add_argument('--encoder', choices=ENCODERS,
                        help='convert only this network of a teacher and student (default: both '
                        'if the naming of DST has both, else the teacher)')
    parser.add_argument('--force', action='store_true', help='overwrite DST')
    arguments.add_trust_argument(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.checkpoints import convert, read_checkpoint, write_checkpoint
from amt_mm.errors import InputError
from amt_mm.printable import printable


def run(args: argparse.Namespace) -> None:
    """Convert, and print what became of the entries.

    Raises:
        InputError: SRC cannot be read or converted, or DST not be written.
    """
    if args.target.exists() and not args.force:
        raise InputError(f'{args.target} exists: name another file, or overwrite it with --force')
    checkpoint = read_checkpoint(args.source, args.encoder)
    try:
        result = convert(checkpoint.state, args.to, args.encoder_only,
                         None if checkpoint.notes else args.encoder)
    except InputError as error:
        raise InputError(f'{args.source}: {error}') from error
    # MAE and SimMIM look for their weights under `model`, iBOT and DINO by network.
    under = {'mae': 'model', 'simmim': 'model', 'ibot': None, 'dino': None}.get(
        args.to, 'state_dict')
    write_checkpoint(args.target, result.state, checkpoint.grid, under)
    print(f'{args.source} ({result.naming}) -> {args.target} ({args.to}): '
          f'{len(result.state)} entries')
    if result.left_out:
        print(printable(f'left out {len(result.left_out)}: {", ".join(result.left_out)}'))
    for note in (*checkpoint.notes, *result.notes):
        print(printable(f'note: {note}'))


def main(argv: list[str] | None = None) -> None:
    """Convert one file."""
    args = parse_args(argv)
    with launch.one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
