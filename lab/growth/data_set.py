"""Start-up of a process on a data set of many samples: its list, fingerprint and order."""

from __future__ import annotations

import amt_mm.registry  # noqa: F401  isort: skip  a fresh process begins here

import multiprocessing
from collections.abc import Callable
from pathlib import Path

from mmengine.dataset import BaseDataset, DefaultSampler

from amt_mm.datasets import ImageNet, dataset_fingerprint

from .cost import Cost, cost

PER_CLASS = 1300
# Bytes of memory a sample while MMEngine lists them, somewhat more than measured.
LISTING = 1000


def write_list(root: Path, count: int) -> Path:
    """Make a folder that passes for ImageNet: a list of names and labels, and no images.

    Args:
        root: The folder to make.
        count: Number of samples; 1300 follow each other in a class, as about in ImageNet.
    """
    (root / 'train').mkdir(parents=True)
    (root / 'meta').mkdir()
    with open(root / 'meta/train.txt', 'w', encoding='utf-8') as file:
        for i in range(count):
            wnid = f'n{i // PER_CLASS:08d}'
            file.write(f'{wnid}/{wnid}_{i % PER_CLASS}.JPEG {i // PER_CLASS % 1000}\n')
    return root


def measure_data_set(count: int, root: Path) -> dict[str, Cost]:
    """Cost of listing the samples, of the fingerprint, and of an epoch's shuffled order.

    Args:
        count: Number of samples.
        root: Of :func:`write_list`.

    Returns:
        Costs by the names of :data:`~lab.growth.curves.TIMES`; ``worker`` has memory alone, what a
        forked process adds by reading each sample's info once.
    """
    sampler = DefaultSampler(range(count), shuffle=True, seed=0)
    # First, and kept: it would fit into the memory that listing frees.
    kept, order = cost(lambda: iter(sampler))
    dataset, listed = cost(lambda: ImageNet(str(root), 'train'))
    del kept
    _, identity = cost(lambda: dataset_fingerprint(dataset))
    added = in_fork(lambda: read_all(dataset))
    return dict(list=listed, fingerprint=identity, order=order, worker=Cost(0, 0, added, added))


def read_all(dataset: BaseDataset) -> int:
    """Bytes that a forked process no longer shares after reading each info once."""

    def private() -> int:
        text = Path('/proc/self/smaps_rollup').read_text()
        return int(text.split('Private_Dirty:')[1].split()[0]) * 1024

    before = private()
    for index in range(len(dataset)):
        dataset.get_data_info(index)
    return private() - before


def in_fork(work: Callable[[], int]) -> int:
    """Result of a call in a forked process, like a data loader worker."""
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    sender.close()
    result = receiver.recv()
    process.join()
    return result
