"""Detect objects in a folder of images: a picture of each with its boxes and masks, and a list.

Needs the packages of `make install-detection`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import arguments, parse_first

EXAMPLES = """
examples:
  python tools/detect.py CONFIG work_dirs/NAME/iter_90000.pth photographs --out found
  python tools/detect.py CONFIG work_dirs/NAME/iter_90000.pth photographs --out found \\
    --threshold 0.3 --cfg-options model.test_cfg.rcnn.max_per_img=20

OUT has a picture for each image, and detections.json: image, category, score, bbox (x, y, width,
height) and segmentation (COCO's run lengths) of each object. Classes have the names that the
checkpoint was trained on. Bad input ends in one line and exit status 2.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='the config that the detector was trained with')
    parser.add_argument('checkpoint', type=Path, help='the trained detector')
    parser.add_argument('folder', type=Path, help='folder of images, with or without subfolders')
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    parser.add_argument('--threshold', type=float, default=0.5,
                        help='smallest score of an object, 0 to 1 (default: %(default)s)')
    parser.add_argument('--force', action='store_true', help='replace the content of OUT')
    parser.add_argument('--cfg-options', nargs='+', default={}, action=arguments.CfgOptions,
                        metavar='KEY=VALUE', help='settings that replace those of the config')
    arguments.add_trust_argument(parser)
    args = parser.parse_args(argv)
    if not 0 <= args.threshold <= 1:
        parser.error(f'--threshold {args.threshold}: give 0 to 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.device import get_device

from amt_mm.apis import launch
from amt_mm.errors import InputError


def main(argv: list[str] | None = None) -> None:
    """Draw, and say how many objects there are."""
    args = parse_args(argv)
    with launch.one_line_errors():
        cfg = launch.load_config(args.config, argparse.Namespace(
            cfg_options=args.cfg_options, work_dir=None, launcher='none', local_rank=0))
        launch.require_file(str(args.checkpoint), 'checkpoint')
        # Imports what detection alone needs, and says how to install it.
        from amt_mm.detection import with_mmdet  # noqa: F401
        from amt_mm.detection.detect import RESULTS, detect

        if 'roi_head' not in cfg.get('model', {}):
            raise InputError(f'config {args.config} has no model.roi_head, so it is not a '
                             'detector: see configs/mmdet')
        results = args.out / RESULTS
        if results.exists() and not args.force:
            raise InputError(f'{results} exists; --force replaces it')
        launch.require_outside(results, args.folder)
        launch.require_writable(results)
        done = detect(cfg, args.checkpoint, args.folder, args.out, args.threshold, get_device())
        print(f'{args.out}: {done.objects} objects in {done.images} images'
              + (f' ({done.left_out} left out)' if done.left_out else ''))


if __name__ == '__main__':
    main()
