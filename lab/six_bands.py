"""Write generated scenes as images of six bands of 12 bits, to try what is for satellites on them.

Each image has spectra of its own: every band is another random mixture of the scene's colours, so
that classes differ in shape alone. Files are TIFFs with one plane for each band, in class folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first

BANDS = 6
# Of 12 bits, of which a sensor uses a part.
_DARK, _BRIGHT = 400, 3400


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--images', type=int, default=2400, help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

import numpy as np
import tifffile

from amt_mm.apis import launch
from amt_mm.datasets import SceneDataset


def main(argv: list[str] | None = None) -> None:
    """Write all images."""
    args = parse_args(argv)
    with launch.one_line_errors():
        scenes = SceneDataset(args.images, seed=args.seed, style='plain', pipeline=[])
        for index in range(len(scenes)):
            scene = scenes[index]
            folder = args.out / scenes.metainfo['classes'][int(scene['gt_label'])]
            folder.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / f'{index:06d}.tif', six_bands(scene['img'], index),
                             photometric='minisblack', planarconfig='separate')


def six_bands(image: np.ndarray, seed: int) -> np.ndarray:
    """Mix colours, ``(H, W, 3)`` uint8, into bands, ``(6, H, W)`` uint16."""
    mixture = np.random.default_rng(seed).dirichlet(np.ones(3), BANDS)  # (6, 3)
    bands = np.einsum('hwc,bc->bhw', image / 255, mixture)
    return np.rint(_DARK + bands * (_BRIGHT - _DARK)).astype(np.uint16)


if __name__ == '__main__':
    main()
