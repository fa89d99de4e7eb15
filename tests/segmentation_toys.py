"""Images of coloured rectangles and their masks, no two of one size."""

import numpy as np
from PIL import Image

PIPELINE = [dict(type='amt_mm.LoadMask'), dict(type='amt_mm.LoadImage'),
            dict(type='Resize', scale=(56, 40), backend='pillow'),
            dict(type='PackInputs', algorithm_keys=['gt_seg_map', 'label_pixels'])]
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 30]])


def write_masked(root, count, seed, classes=3, folder='masks', first=0):
    """Write images of rectangles in the colour of their class, and the masks."""
    chance = np.random.RandomState(seed)
    for name in ('images', folder):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        mask = np.zeros((44 + i, 61 - i), np.uint8)
        for label in range(1, classes):
            row, column = chance.randint(0, 25, 2)
            mask[row:row + 20, column:column + 20] = label
        noise = chance.randint(-25, 26, (*mask.shape, 3))
        Image.fromarray((COLOURS[mask] + noise).astype(np.uint8)).save(root / f'images/{i}.png')
        mask += first
        mask[:2] = 255
        Image.fromarray(mask).save(root / folder / f'{i}.png')
