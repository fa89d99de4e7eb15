"""Annotation files of a few rectangles on noise, in COCO and LVIS v1 format."""

import json

import cv2
import numpy as np
from pycocotools import mask as rle

CLASSES = ('cat', 'dog', 'emu')
# (width, height): none is square.
SIZES = ((64, 48), (40, 56), (50, 44), (60, 36))
# (image, class, x, y, width, height); image 3 has no object.
OBJECTS = ((0, 0, 4, 6, 20, 16), (0, 1, 30, 10, 24, 30), (1, 0, 2, 2, 30, 20),
           (1, 0, 5, 30, 20, 20), (2, 2, 10, 8, 30, 24))


def rectangle(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def disc(x, y, w, h, size):
    """Compressed RLE of an ellipse within a box, so that box and mask differ."""
    rows, columns = np.mgrid[:size[1], :size[0]]
    inside = (((columns + .5 - x - w / 2) / (w / 2)) ** 2
              + ((rows + .5 - y - h / 2) / (h / 2)) ** 2) <= 1
    mask = rle.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {'size': mask['size'], 'counts': mask['counts'].decode()}


def toy_content():
    """Content in LVIS format, a superset of COCO, with gaps in the category ids."""
    images = [dict(id=10 + i, width=w, height=h, file_name=f'{i}.png',
                   coco_url=f'http://images.cocodataset.org/train2017/{i}.png',
                   neg_category_ids=[], not_exhaustive_category_ids=[])
              for i, (w, h) in enumerate(SIZES)]
    categories = [dict(id=3 * i + 1, name=name, frequency='rcf'[i])
                  for i, name in enumerate(CLASSES)]
    annotations = [dict(id=100 + n, image_id=10 + image, category_id=3 * label + 1,
                        bbox=[x, y, w, h], area=w * h, iscrowd=0,
                        segmentation=rectangle(x, y, w, h))
                   for n, (image, label, x, y, w, h) in enumerate(OBJECTS)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_content(folder, content, images=True):
    """Write the file, and noise images under ``train2017``."""
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    if images:
        (folder / 'train2017').mkdir(exist_ok=True)
        rng = np.random.RandomState(0)
        for image in content['images']:
            noise = rng.randint(0, 256, (image['height'], image['width'], 3), np.uint8)
            cv2.imwrite(str(folder / 'train2017' / image['file_name']), noise)
    return path
