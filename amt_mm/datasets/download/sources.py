"""Where the public data sets are, and how to tell that a file is the true one."""

from __future__ import annotations

import os.path as osp
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One archive.

    Attributes:
        url: Official address.
        size: In bytes.
        md5: Of the archive, as its publisher or the field records it.
        folder: The folder that the archive holds.
        holder: Folder below ``root`` that ``folder`` is unpacked in, which is the
            ``data_root`` then. Defaults to '': ``root/folder`` is the ``data_root``.
    """

    url: str
    size: int
    md5: str
    folder: str
    holder: str = ''

    @property
    def filename(self) -> str:
        """Name of the archive."""
        return self.url.rpartition('/')[2]


# md5: CIFAR as on its page; STL-10 as torchvision has it; Tiny ImageNet has none from its
# publisher, this one is what libraries of continual learning (avalanche and others) check.
SOURCES = {
    'cifar10': Source(
        url='https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
        size=170_498_071,
        md5='c58f30108f718f92721af3b95e74349a',
        folder='cifar-10-batches-py',
        holder='cifar10'),
    'cifar100': Source(
        url='https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',
        size=169_001_437,
        md5='eb9058c3a382ffc7106e4002c42a8d85',
        folder='cifar-100-python',
        holder='cifar100'),
    'tiny-imagenet': Source(
        url='http://cs231n.stanford.edu/tiny-imagenet-200.zip',
        size=248_100_043,
        md5='90528d7ca1a48142e341f4ef8d21d0de',
        folder='tiny-imagenet-200'),
    'stl10': Source(
        url='http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz',
        size=2_640_397_119,
        md5='91f7769df0f17e558f3565bffb0c7dfb',
        folder='stl10_binary'),
}


def download_command(name: str, data_root: str, archives: str = '') -> str:
    """The command line that puts a data set where ``data_root`` looks for it.

    Args:
        name: Of the data set, as ``tools/dataset_tools/download_dataset.py`` knows it.
        data_root: Of the config. Where its last folder is not the one that the
            tool makes, the text says what to set it to.
        archives: Arguments to add. Defaults to none.
    """
    source = SOURCES.get(name)
    made = (source.holder or source.folder) if source else name
    root, last = osp.split(osp.normpath(data_root))
    after = ''
    if last != made:
        root, after = data_root, f', and set data_root to {osp.join(data_root, made)}'
    return (f'python tools/dataset_tools/download_dataset.py {name} --root {root or "."}'
            f'{archives}{after}')
