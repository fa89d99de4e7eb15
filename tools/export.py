"""Write an encoder for timm, transformers, ONNX or torch.export, with what loading needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import EXPORTS

EXAMPLES = """
examples:
  amt export work_dirs/NAME/epoch_400.pth --to timm --out exports/timm
  amt export work_dirs/NAME/epoch_400.pth --to transformers --out exports/transformers
  amt export ibot.pth --to onnx --out exports/onnx --encoder student --image-size 448
  amt export work_dirs/NAME/epoch_400.pth --to onnx --out exports/int8 --int8

formats:
  timm          model.safetensors and config.json, for create_model('local-dir:DIR')
  transformers  ViTModel, Dinov2Model or DINOv3ViTModel, with preprocessor_config.json; with a
                decoder of MAE, also ViTMAEForPreTraining in DIR/mae
  onnx          model.onnx with normalisation inside; needs onnx and onnxscript, and is compared
                with torch where onnxruntime is installed
  torch         model.pt2, a program of torch.export with normalisation inside; needs torch alone

The checkpoint may be any that evaluation reads. The tool prints the line that loads the result. Bad
input ends in one line and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='a pre-trained vision transformer')
    parser.add_argument('--to', choices=EXPORTS, required=True, help='see below')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write')
    parser.add_argument('--image-size', type=int,
                        help='image size in pixels (default: that of the pre-training, else 224)')
    arguments.add_encoder_argument(parser)
    parser.add_argument('--int8', action='store_true',
                        help='compute linear layers in 8 bits (--to onnx; needs onnxruntime)')
    parser.add_argument('--force', action='store_true', help='replace what is in DIR')
    arguments.add_trust_argument(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis.export import export
from amt_mm.apis.launch import one_line_errors


def main(argv: list[str] | None = None) -> None:
    """Write the files and say how to load them."""
    args = parse_args(argv)
    with one_line_errors():
        for line in export(args.checkpoint, args.to, args.out, args.image_size, args.encoder,
                           args.force, args.int8):
            print(line)


if __name__ == '__main__':
    main()
