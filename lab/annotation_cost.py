"""CPU time of reading and checking an annotation file of COCO's size, beside ``json.loads`` alone.

Makes the text of 118,287 images and 860,000 objects (train2017 has 860,001 in 448 MB): 45 numbers
of polygons on average, every hundredth object a crowd in run lengths. Processor time of one thread.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import time
from collections.abc import Callable

from amt_mm.cli import parse_first

EXAMPLE = """
example:
  OMP_NUM_THREADS=1 python -m lab.annotation_cost
"""
WIDTH, HEIGHT = 640, 480
_POINTS = 16
_OBJECTS_PER_IMAGE = 860_000 / 118_287


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--objects', type=int, default=860_000, help='default: 860000')
    args = parser.parse_args()
    if args.objects < 1:
        parser.error('--objects must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.detection.annotation_faults import Findings
from amt_mm.detection.annotations import check_content, parse_annotations


def annotation_text(objects: int) -> str:
    """Make the text of a sound annotation file."""
    chance = random.Random(0)
    count = math.ceil(objects / _OBJECTS_PER_IMAGE)
    images = [dict(id=number, width=WIDTH, height=HEIGHT, file_name=f'{number:012d}.jpg')
              for number in range(1, count + 1)]
    categories = [dict(id=number, name=f'class {number}') for number in range(1, 81)]
    # Dumped one by one: as objects, they would take as much memory again.
    entries = ', '.join(json.dumps(_object(chance, number, count))
                        for number in range(1, objects + 1))
    return (f'{{"images": {json.dumps(images)}, "categories": {json.dumps(categories)}, '
            f'"annotations": [{entries}]}}')


def _object(chance: random.Random, number: int, images: int) -> dict:
    crowd = number % 100 == 0
    width, height = chance.uniform(5, 200), chance.uniform(5, 150)
    x, y = chance.uniform(0, WIDTH - width), chance.uniform(0, HEIGHT - height)
    if crowd:
        runs = [chance.randrange(1, 700) for _ in range(400)]
        mask: object = dict(size=[HEIGHT, WIDTH], counts=[*runs, WIDTH * HEIGHT - sum(runs)])
    else:
        mask = [_polygon(chance, x, y, width, height) for _ in range(1 + (number % 5 < 2))]
    return dict(id=number, image_id=1 + number % images, category_id=1 + number % 80,
                bbox=[round(value, 2) for value in (x, y, width, height)],
                area=width * height / 2, iscrowd=int(crowd), segmentation=mask)


def _polygon(chance: random.Random, x: float, y: float, width: float, height: float
             ) -> list[float]:
    numbers = []
    for point in range(_POINTS):
        radius, angle = chance.uniform(.25, .5), 2 * math.pi * point / _POINTS
        numbers += [round(x + width * (.5 + radius * math.cos(angle)), 2),
                    round(y + height * (.5 + radius * math.sin(angle)), 2)]
    return numbers


def main() -> None:
    """Make, read, check, and print what each took."""
    args = parse_args()
    text = annotation_text(args.objects).encode()
    # As reading does, which says why.
    gc.disable()
    plain, _ = _timed(json.loads, text)
    read, content = _timed(parse_annotations, text)
    findings = Findings('made')
    checked, _ = _timed(check_content, content, False, findings)
    findings.stop_at_faults()
    print(f'{args.objects:,} objects, {len(text) / 1e6:.0f} MB: json.loads {plain:.1f} s, '
          f'reading {read:.1f} s, checking {checked:.1f} s of CPU time')


def _timed(function: Callable, *args: object) -> tuple[float, object]:
    start = time.process_time()
    value = function(*args)
    return time.process_time() - start, value


if __name__ == '__main__':
    main()
