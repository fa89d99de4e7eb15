"""Pack a data set into one file, which amt_mm.PackedImages maps into memory.

The source is a folder of images, or the training set of a config. A folder with splits (train and
val or test) is refused: a packed file has none, so each split gets a file of its own. Image files
are copied as they are, images that lie in arrays (CIFAR's) become PNG, and frames of a file
(pixels.pages of the config) become arrays. The packed data set has the names, the order and the
identity of its source, so saliency maps of the one serve the other.
The file appears under its name only when it is complete.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLE = """
examples:
  amt pack data/imagenet/train data/imagenet_train.amtpack
  amt pack data/imagenet_train.amtpack \\
    --config configs/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py
then, in a config:
  train_dataloader = dict(dataset=dict(
      _delete_=True, type='amt_mm.PackedImages', path='data/imagenet_train.amtpack',
      pipeline=...))
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='?', help='a folder of images')
    parser.add_argument('out', type=Path, help='the file to write')
    parser.add_argument('--config', help='take the training set of this config, not a folder')
    parser.add_argument('--force', action='store_true', help='replace OUT if it is there')
    args = parser.parse_args()
    if bool(args.source) == bool(args.config):
        parser.error('give either a folder or --config')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from amt_mm.apis import launch
from amt_mm.config.overlay import apply_overlay
from amt_mm.datasets import ImageFolder, PackedImages, pack
from amt_mm.datasets.image_folder import split_folders
from amt_mm.errors import InputError


def training_set(config: str):
    """The training set of a config, without its pipeline but for what loads files."""
    cfg = launch.load_config(config, argparse.Namespace(
        cfg_options=None, work_dir=None, launcher='none', local_rank=0))
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    cfg = apply_overlay(cfg)
    dataset = cfg.train_dataloader.dataset
    return DATASETS.build({**dataset, 'pipeline': dataset.get('pipeline', [])[:1]})


def images_of(folder: str) -> ImageFolder:
    """All images of a folder.

    Raises:
        InputError: It has splits: in one file, evaluation would be on images of the training.
    """
    splits = split_folders(path.name for path in Path(folder).glob('*') if path.is_dir())
    if splits:
        raise InputError(f'{folder}: has the splits {", ".join(sorted(splits))}, and a packed file '
                         'has none: pack the folder of each, or the training set of a config by '
                         '--config')
    return ImageFolder(folder)


def main() -> None:
    """Pack, open the result, and say what it holds."""
    args = parse_args()
    with launch.one_line_errors():
        if args.out.exists() and not args.force:
            raise InputError(f'{args.out} exists; --force replaces it')
        source = training_set(args.config) if args.config else images_of(args.source)
        samples, size = pack(source, args.out, partial(tqdm, desc='packing', unit='image',
                                                       disable=None))
        packed = PackedImages(str(args.out))
        print(f'{args.out}: {samples} images, {size / 1e6:.1f} MB, identity {packed.fingerprint}')


if __name__ == '__main__':
    main()
