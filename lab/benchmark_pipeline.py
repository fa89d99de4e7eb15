"""Images per second and core of pre-training pipelines, on JPEGs made from a folder of photos.

Makes JPEGs of one size and about one number of bytes (ImageNet's: 500 x 375, 46 KB) in a
temporary folder. All pipelines make the same crops (224 pixels, 20 to 100 % of the area, bicubic,
flipped half of the time) in turn, batch by batch, so that noise of the machine affects all alike.
Measured is processor time of one process, with collation, without waiting for the disk; medians
over the rounds, ratios within a round. A second table shows where the time goes.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from amt_mm.cli import parse_first

os.environ.setdefault('OMP_NUM_THREADS', '1')


EXAMPLE = """
example:
  python -m lab.benchmark_pipeline data/coco/train2017
"""
STOCK = 'mmpretrain, pillow'
FAST = ('amt_mm.ReadImage', 'amt_mm.DecodeRandomResizedCrop', 'amt_mm.PackInputsWithBox')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='photographs, in this folder or below')
    parser.add_argument('--images', type=int, default=64, help='images a batch (default: 64)')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds (default: 9)')
    parser.add_argument('--size', type=int, nargs=2, default=(500, 375),
                        metavar=('WIDTH', 'HEIGHT'), help='of the JPEGs (default: 500 375)')
    parser.add_argument('--bytes', type=int, default=46000,
                        help='of a JPEG, about (default: 46000)')
    parser.add_argument('--out', type=Path, default='work_dirs/benchmark_pipeline',
                        help='write the tables to OUT.md and OUT.json, and OUT-parts')
    args = parser.parse_args()
    if min(args.images, args.rounds, *args.size, args.bytes) < 1:
        parser.error('--images, --rounds, --size and --bytes must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import cv2
import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps
from torch.utils.data import Dataset
from torchvision import transforms as tv

from amt_mm.apis import launch
from amt_mm.datasets import ImageFolder, PackedImages, StagedDataset, collate_repeats, pack
from amt_mm.datasets.libturbojpeg import libturbojpeg
from amt_mm.errors import InputError
from amt_mm.visualization import write_table


def make_jpegs(source: str, target: Path, count: int, size: tuple[int, int], wanted: int
               ) -> float:
    """Make JPEGs of one size, each of the quality that takes about ``wanted`` bytes.

    Args:
        source: Folder of images.
        target: Folder to write to.
        count: How many.
        size: Width and height.
        wanted: Bytes of a file; smooth images have less, at quality 96.

    Returns:
        Their mean number of bytes.
    """
    found = ImageFolder(source, with_label=False)
    if len(found) < count:
        raise InputError(f'{source}: has {len(found)} images, {count} are needed; give --images '
                         f'{len(found)}')
    sizes = []
    for i in range(count):
        with Image.open(found.get_data_info(i)['img_path']) as image:
            photo = ImageOps.fit(image.convert('RGB'), size, Image.Resampling.LANCZOS)
        versions = []
        for quality in range(40, 97):
            file = io.BytesIO()
            photo.save(file, 'JPEG', quality=quality)
            versions.append(file.getvalue())
            if len(versions[-1]) >= wanted:
                break
        nearest = min(versions[-2:], key=lambda content: abs(len(content) - wanted))
        (target / f'{i:04d}.jpg').write_bytes(nearest)
        sizes.append(len(nearest))
    return float(np.mean(sizes))


def steps(load: str, crop: str, packing: str, backend: str = 'pillow') -> list[dict]:
    """The pipeline of MAE's pre-training with these classes."""
    return [dict(type=load),
            dict(type=crop, scale=224, crop_ratio_range=(0.2, 1.0), backend=backend,
                 interpolation='bicubic'),
            dict(type='RandomFlip', prob=0.5),
            dict(type=packing)]


class Torchvision(Dataset):
    """The same crops by torchvision on Pillow images, without crop boxes."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())
        self.transform = tv.Compose([
            tv.RandomResizedCrop(224, (0.2, 1.0), interpolation=tv.InterpolationMode.BICUBIC),
            tv.RandomHorizontalFlip(), tv.PILToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, idx: int) -> torch.Tensor:
        return self.transform(Image.open(self.files[idx]).convert('RGB'))


def contestants(folder: Path, packed: Path) -> dict[str, tuple[Callable[[], object], int]]:
    """Name -> function that makes one batch of all images, and its crops per image."""
    count = len(list(folder.iterdir()))
    images = {'data_root': str(folder), 'with_label': False}
    stock = ('LoadImageFromFile', 'RandomResizedCrop', 'PackInputs')
    fast = steps(*FAST)

    def repeated(repeats: int) -> list[dict]:
        return [fast[0], dict(type='amt_mm.RepeatedCrops', transforms=fast[1:], repeats=repeats)]

    def batch(dataset: Dataset, collate: Callable = default_collate) -> Callable[[], object]:
        if hasattr(dataset, '__getitems__'):
            return lambda: collate(dataset.__getitems__(range(count)))
        return lambda: collate([dataset[i] for i in range(count)])

    decoding = ImageFolder(pipeline=[dict(type='LoadImageFromFile')], **images)
    slow_box = steps('amt_mm.LoadImage', 'amt_mm.RandomResizedCropWithBox',
                     'amt_mm.PackInputsWithBox')
    mappings = {
        STOCK: (batch(ImageFolder(pipeline=steps(*stock), **images)), 1),
        'torchvision': (batch(Torchvision(folder), torch.stack), 1),
        'mmpretrain, cv2 (aliased)': (batch(ImageFolder(
            pipeline=steps(*stock, backend='cv2'), **images)), 1),
        'decoding alone, cv2': (lambda: [decoding[i] and None for i in range(count)], 1),
        'amt_mm, pillow': (batch(ImageFolder(pipeline=slow_box, **images)), 1),
        'fast': (batch(ImageFolder(pipeline=fast, **images)), 1),
        'fast, StagedDataset': (batch(StagedDataset(ImageFolder(pipeline=fast, **images))), 1),
        'fast, StagedDataset of PackedImages': (
            batch(StagedDataset(PackedImages(str(packed), fast))), 1),
    }
    for repeats in (2, 4):
        mappings[f'fast, RepeatedCrops, {repeats} a decode'] = (batch(StagedDataset(
            ImageFolder(pipeline=repeated(repeats), **images)), collate_repeats), repeats)
    return mappings


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    result = work()
    elapsed = time.process_time() - start
    del result
    return elapsed


def race(makers: dict[str, tuple[Callable, int]], images: int, rounds: int) -> list[dict]:
    """Let all make a batch in each round, after one unmeasured.

    Returns:
        Rows of a table: medians of images per second, and of ratios to the first.
    """
    times = np.array([[seconds(work) / (images * crops) for work, crops in makers.values()]
                      for _ in range(rounds + 1)])[1:]
    low, median, high = np.quantile(1 / times, [.25, .5, .75], axis=0)
    ratio = np.median(times[:, :1] / times, axis=0)
    return [{'pipeline': name, 'images': median[i], 'low': low[i], 'high': high[i],
             'ratio': ratio[i]} for i, name in enumerate(makers)]


def parts(folder: Path, images: int, rounds: int) -> list[dict]:
    """Microseconds per image of each transform, sample by sample, and of what follows."""
    named = {STOCK: steps('LoadImageFromFile', 'RandomResizedCrop', 'PackInputs'),
             'fast': steps(*FAST)}
    rows = []
    for name, pipeline in named.items():
        dataset = ImageFolder(str(folder), pipeline=pipeline, with_label=False)
        times: dict[str, list[float]] = {}

        def timed(key: str, work: Callable, *args: object, into=times) -> object:
            start = time.process_time()
            result = work(*args)
            into.setdefault(key, []).append(time.process_time() - start)
            return result

        for _ in range(rounds):
            samples = []
            for i in range(images):
                sample = timed('data set', dataset.get_data_info, i)
                for transform in dataset.pipeline.transforms:
                    sample = timed(type(transform).__name__, transform, sample)
                samples.append(sample)
            batch = timed('collate *', default_collate, samples)
            content = timed('pickle data samples *', pickle.dumps, batch['data_samples'])
            timed('unpickle data samples *', pickle.loads, content)
            timed('copy to shared memory *', lambda b=batch: b['inputs'].clone().share_memory_())
        # Those with a star are done for a whole batch at once.
        rows += [{'pipeline': name, 'part': key.removesuffix(' *'),
                  'us': np.median(spent) * 1e6 / (images if key.endswith('*') else 1)}
                 for key, spent in times.items()]
    return rows


def main() -> None:
    """Measure and print the tables."""
    args = parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    init_default_scope('mmpretrain')
    with launch.one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        launch.require_writable(args.out)
        folder, packed = Path(temporary, 'jpegs'), Path(temporary, 'all.amtpack')
        folder.mkdir()
        mean = make_jpegs(args.folder, folder, args.images, tuple(args.size), args.bytes)
        pack(ImageFolder(str(folder), with_label=False), packed)
        rows = race(contestants(folder, packed), args.images, args.rounds)
        spent = parts(folder, args.images, max(1, args.rounds // 2))
        markdown, _ = write_table(
            args.out, rows, {'pipeline': 'pipeline', 'images': 'images/s and core',
                             'low': 'lower quartile', 'high': 'upper quartile', 'ratio': 'ratio'},
            {'images': '.0f', 'low': '.0f', 'high': '.0f', 'ratio': '.2f'})
        details, _ = write_table(
            args.out.with_name(args.out.name + '-parts'), spent,
            {'pipeline': 'pipeline', 'part': 'part', 'us': 'us an image'}, {'us': '.0f'})
        print(markdown.read_text())
        print(details.read_text())
        library = 'libturbojpeg' if libturbojpeg() else 'OpenCV alone (no libturbojpeg)'
        print(f'{args.rounds} rounds of {args.images} JPEGs of {args.size[0]} x {args.size[1]}, '
              f'{mean / 1e3:.0f} KB; parts decoded by {library}. Also in {markdown} and {details}')


if __name__ == '__main__':
    main()
