"""Small data sets in the formats of their archives."""

import pickle
from hashlib import md5

import cv2
import numpy as np

from amt_mm.datasets import CIFAR10, CIFAR100

RED = np.zeros((96, 96, 3), np.uint8)
RED[:, :, 0] = 255


def noise(count, size, seed=0):
    """RGB images, ``(count, size, size, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write_cifar(monkeypatch, root, images, labels, split, cls=CIFAR10, files=None):
    """CIFAR's pickled batches: rows of 1,024 reds, 1,024 greens, 1,024 blues."""
    folder = root / cls.base_folder
    folder.mkdir(parents=True, exist_ok=True)
    files = files or [name for name, _ in getattr(cls, f'{split}_list')]
    parts = np.array_split(np.arange(len(images)), len(files))
    listed = []
    for name, part in zip(files, parts, strict=True):
        rows = [[value for channel in range(3) for value in images[i][:, :, channel].ravel()]
                for i in part]
        key = 'fine_labels' if cls is CIFAR100 else 'labels'
        content = pickle.dumps({
            'data': np.array(rows, np.uint8).reshape(-1, 3072), key: [labels[i] for i in part],
            'coarse_labels': [0] * len(part), 'filenames': [f'{i}.png' for i in part]}, protocol=2)
        (folder / name).write_bytes(content)
        listed.append([name, md5(content).hexdigest()])
    monkeypatch.setattr(cls, f'{split}_list', listed)


def write_stl10(root, images, part, labels=None):
    """STL-10's binary files: per image red, green, blue planes in column-major order."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f'{part}_X.bin', 'wb') as file:
        for image in images:
            for channel in range(3):
                for column in range(96):
                    file.write(bytes(int(image[row, column, channel]) for row in range(96)))
    if labels is not None:
        (root / f'{part}_y.bin').write_bytes(bytes(label + 1 for label in labels))


def write_tiny_imagenet(folder, wnids, train=2, val=3, images=None):
    """Tiny ImageNet's folders; the validation images cycle through the classes as listed."""
    (folder / 'val' / 'images').mkdir(parents=True)
    (folder / 'wnids.txt').write_text(''.join(f'{wnid}\n' for wnid in wnids))
    (folder / 'words.txt').write_text('n00000001\tentity\n' + ''.join(
        f'{wnid}\tthing {wnid}, object\n' for wnid in wnids))
    pictures = iter(noise(1000, 64) if images is None else images)
    for wnid in wnids:
        (folder / 'train' / wnid / 'images').mkdir(parents=True)
        (folder / 'train' / wnid / f'{wnid}_boxes.txt').write_text('')
        for number in range(train):
            write_rgb(folder / 'train' / wnid / 'images' / f'{wnid}_{number}.JPEG', next(pictures))
    lines = []
    for number in range(val):
        write_rgb(folder / 'val' / 'images' / f'val_{number}.JPEG', next(pictures))
        lines.append(f'val_{number}.JPEG\t{wnids[number % len(wnids)]}\t0\t32\t44\t62\n')
    (folder / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    return folder


def write_rgb(path, image):
    """A nearly lossless JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode('.jpg', image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    path.write_bytes(content.tobytes())
