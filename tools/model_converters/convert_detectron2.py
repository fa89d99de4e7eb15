"""Turn a ViTDet that detectron2 trained into a checkpoint of the detectors of configs/mmdet."""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  python tools/model_converters/convert_detectron2.py model_final_61ccd1.pkl vitdet-b.pth \\
    --annotations data/coco/annotations/instances_val2017.json
  python tools/test.py configs/mmdet/coco/mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py \\
    vitdet-b.pth

SRC is a file of detectron2's model zoo (.pkl) or of its trainer (.pth): Mask R-CNN or Cascade Mask
R-CNN on ViT-B, -L or -H. Every entry is converted, or the tool stops and names it. Bad input ends
in one line and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='SRC', type=Path, help='file of detectron2')
    parser.add_argument('target', metavar='DST', type=Path, help='file to write, .pth')
    parser.add_argument('--annotations', metavar='FILE',
                        help="file in COCO's format whose categories the model was trained on: "
                        'tools/detect.py names objects by them (default: by number)')
    parser.add_argument('--force', action='store_true', help='overwrite DST')
    arguments.add_trust_argument(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.checkpoints import write_checkpoint
from amt_mm.detection.detectron2_weights import from_detectron2, read_detectron2
from amt_mm.errors import InputError


def class_names(annotations: str) -> list[str]:
    """Return the names of the categories in detectron2's order, that of their ids."""
    # Needs pycocotools, which the conversion itself does not.
    from amt_mm.detection.annotations import COCO_SOURCE, read_annotations

    categories = read_annotations(annotations, COCO_SOURCE).content['categories']
    return [one['name'] for one in sorted(categories, key=lambda one: one['id'])]


def run(args: argparse.Namespace) -> None:
    """Convert, and print what there is.

    Raises:
        InputError: SRC cannot be read or converted, or DST not be written.
    """
    if args.target.exists() and not args.force:
        raise InputError(f'{args.target} exists: name another file, or overwrite it with --force')
    if args.target.suffix != '.pth':
        raise InputError(f'{args.target}: name a file with the suffix .pth')
    launch.require_file(str(args.source), 'checkpoint')
    weights = read_detectron2(args.source)
    try:
        state = from_detectron2(weights)
    except InputError as error:
        raise InputError(f'{args.source}: {error}') from error
    meta = {}
    if args.annotations:
        classes = class_names(args.annotations)
        trained = {len(value) - 1 for name, value in state.items() if name.endswith('fc_cls.bias')}
        if trained != {len(classes)}:
            raise InputError(f'{args.annotations}: has {len(classes)} categories, and '
                             f'{args.source} was trained on {", ".join(map(str, trained))}')
        meta['dataset_meta'] = {'classes': classes}
    write_checkpoint(args.target, state, meta=meta)
    print(f'{args.source} -> {args.target}: {len(state)} entries')


def main(argv: list[str] | None = None) -> None:
    """Convert one file."""
    args = parse_args(argv)
    with launch.one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
