"""DAVIS 2017 in small: the folders of the published archive, with squares that move."""

import numpy as np
from PIL import Image

# 0 background, then objects.
COLOURS = np.array([[90, 90, 90], [200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def write_video(root, name, masks, split='val', seed=0):
    """Write frames, each pixel in the colour of its object and noise, and masks as palettes."""
    chance = np.random.RandomState(seed)
    for kind in ('JPEGImages/480p', 'Annotations/480p'):
        (root / kind / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = COLOURS[np.where(mask == 255, 0, mask)] + chance.randint(-25, 25, (*mask.shape, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
            root / 'JPEGImages/480p' / name / f'{number:05}.jpg', quality=95)
        palette = Image.fromarray(mask.astype(np.uint8), 'P')
        palette.putpalette(np.random.RandomState(1).randint(0, 256, 768).tolist())
        palette.save(root / 'Annotations/480p' / name / f'{number:05}.png')
    names = root / 'ImageSets/2017' / f'{split}.txt'
    names.parent.mkdir(parents=True, exist_ok=True)
    with open(names, 'a') as file:
        file.write(f'{name}\n')
    return root


def moving(height, width, frames, objects, side, step):
    """Masks of squares: ``objects`` are (label, row, column); each moves right by ``step``."""
    masks = np.zeros((frames, height, width), np.uint8)
    for number, mask in enumerate(masks):
        for label, row, column in objects:
            mask[row:row + side, column + number * step:column + number * step + side] = label
    return masks
