"""Paint the objects of a COCO annotation file as masks for semantic segmentation.

OUT/masks has one PNG for each image: 0 is background, classes count from 1 in the order of the
category ids, larger objects lie under smaller ones, and crowds are ignored (255). OUT/images leads
to the images, so OUT is one split of a folder for `--protocols segmentation`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
examples:
  a folder with train/ and val/, then its evaluation:
    for SPLIT in train val; do
      python tools/dataset_tools/paint_masks.py \\
        data/coco/annotations/instances_${SPLIT}2017.json data/coco/${SPLIT}2017 \\
        data/coco_masks/$SPLIT
    done
    amt evaluate CHECKPOINT --data data/coco_masks --protocols segmentation
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help="a file in COCO's format")
    parser.add_argument('images', type=Path, help='the folder of its images')
    parser.add_argument('out', type=Path, help='the folder to write')
    parser.add_argument('--supercategories', action='store_true',
                        help='paint the supercategories (12 in COCO) in place of the categories')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

from collections import Counter
from importlib.util import find_spec

from PIL import Image
from tqdm import tqdm

from amt_mm.apis import launch
from amt_mm.errors import InputError
from amt_mm.printable import one_line


def main() -> None:
    """Write the masks, and say what each label means."""
    args = parse_args()
    with launch.one_line_errors():
        if find_spec('pycocotools') is None:
            raise InputError('this tool needs pycocotools: run `make install-detection` in a clone '
                             'of amt_mm')
        from amt_mm.detection.annotations import COCO_SOURCE, read_annotations
        from amt_mm.detection.semantic_masks import class_labels, paint_mask

        content = read_annotations(args.annotations, COCO_SOURCE).content
        labels, names = class_labels(content['categories'], args.supercategories,
                                     args.annotations)
        if not args.images.is_dir():
            raise InputError(f'{args.images}: is not a folder')
        missing = [image['file_name'] for image in content['images']
                   if not (args.images / image['file_name']).is_file()]
        if missing:
            raise InputError(f'{args.images}: has no {missing[0]}, an image of {args.annotations} '
                             f'({len(missing)} of {len(content["images"])} are missing)')
        files = [mask_file(image['file_name'], args.annotations) for image in content['images']]
        file, times = Counter(files).most_common(1)[0] if files else ('', 0)
        if times > 1:
            raise InputError(f'{args.annotations}: {times} of its images would have the mask '
                             f'{file}: their names differ in the ending alone, so rename them')
        objects: dict[int, list[dict]] = {}
        for each in content['annotations']:
            objects.setdefault(each['image_id'], []).append(each)
        (args.out / 'masks').mkdir(parents=True, exist_ok=True)
        link = args.out / 'images'
        if not link.exists():
            link.symlink_to(args.images.resolve())
        elif not link.samefile(args.images):
            raise InputError(f'{link} is not {args.images}: name another folder to write')
        for image, file in zip(tqdm(content['images'], 'painting', unit='image', disable=None),
                               files, strict=True):
            mask = paint_mask((image['height'], image['width']), objects.get(image['id'], []),
                              labels)
            path = args.out / 'masks' / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a link, perhaps, which is not to be followed
            Image.fromarray(mask).save(path)
        print(f'{args.out}: {len(content["images"])} masks. 0 background, '
              + ', '.join(f'{label} {one_line(name)}' for label, name in enumerate(names, 1)))


def mask_file(image: str, annotations: str) -> Path:
    """Return where in masks/ the mask of an image is to be."""
    path = Path(image)
    if path.is_absolute() or '..' in path.parts:
        raise InputError(f'{annotations}: the image {image!r} is not in the folder of images')
    return path.with_suffix('.png')


if __name__ == '__main__':
    main()
