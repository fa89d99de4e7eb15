"""Locations and checksums of the public data sets, and errors that say how to get them."""

from __future__ import annotations

import os.path as osp
import shlex
from dataclasses import dataclass

from amt_mm.errors import InputError


@dataclass(frozen=True)
class Source:
    """One archive.

    Attributes:
        url: Official address.
        size: In bytes.
        md5: Of the archive.
        folder: Top-level folder in the archive.
        holder: Folder below ``root`` that ``folder`` is unpacked in and that is the
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


# md5: of CIFAR from its page, of STL-10 from torchvision, of Tiny ImageNet from avalanche and other
# continual learning libraries, as its publisher gives none.
SOURCES = {
    'cifar10': Source(
        'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz', 170_498_071,
        'c58f30108f718f92721af3b95e74349a', 'cifar-10-batches-py', holder='cifar10'),
    'cifar100': Source(
        'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz', 169_001_437,
        'eb9058c3a382ffc7106e4002c42a8d85', 'cifar-100-python', holder='cifar100'),
    'tiny-imagenet': Source(
        'http://cs231n.stanford.edu/tiny-imagenet-200.zip', 248_100_043,
        '90528d7ca1a48142e341f4ef8d21d0de', 'tiny-imagenet-200'),
    'stl10': Source(
        'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz', 2_640_397_119,
        '91f7769df0f17e558f3565bffb0c7dfb', 'stl10_binary'),
}
# Folders of images -> how to get them; {} is the data_root.
_CLONES = {
    'clothing': 'git clone https://github.com/alexeygrigorev/clothing-dataset-small {0} && '
                'mv {0}/validation {0}/val',
    'ADEChallengeData2016':
        'curl -LO http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip && '
        'unzip -d "$(dirname {0})" ADEChallengeData2016.zip',
    'DAVIS':
        'curl -LO https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip '
        '&& unzip -d "$(dirname {0})" DAVIS-2017-trainval-480p.zip'}


def download_command(name: str, data_root: str, archives: str = '') -> str:
    """Return the command that puts a data set where ``data_root`` looks for it.

    Args:
        name: Of the data set in ``amt download``.
        data_root: Of the config. If its last folder is not the one that the tool creates, the
            text says what to set it to.
        archives: Additional arguments. Defaults to none.
    """
    source = SOURCES.get(name)
    made = (source.holder or source.folder) if source else name
    root, last = osp.split(osp.normpath(data_root))
    after = ''
    if last != made:
        root, after = data_root, f', and set data_root to {osp.join(data_root, made)}'
    return f'amt download {name} --root {shlex.quote(root or ".")}{archives}{after}'


def clone_command(data_root: str) -> str | None:
    """Return the command that gets a public data set of image files, None for other folders.

    Args:
        data_root: Of the config; its last folder has the name of the data set.
    """
    root = osp.normpath(data_root)
    command = _CLONES.get(osp.basename(root))
    return command and command.format(shlex.quote(root))


def archived_file(name: str, data_root: str, *parts: str) -> str:
    """Return the path of ``parts`` below the archive's folder.

    Raises:
        InputError: The data set or this part of it is missing; the message has the command
            to get it.
    """
    folder = _archived_folder(name, data_root)
    path = osp.join(folder, *parts)
    if not osp.exists(path):
        fault = f'{path}: is missing' if osp.isdir(folder) else f'{folder}: does not exist'
        raise InputError(f'{fault}; get the data set by: {download_command(name, data_root)}')
    return path


def damaged(name: str, data_root: str, fault: str) -> InputError:
    """Return the error for a data set that differs from its archive as ``fault`` says."""
    return InputError(f'{fault}; move {_archived_folder(name, data_root)} away and get the data '
                      f'set again by: {download_command(name, data_root)}')


def _archived_folder(name: str, data_root: str) -> str:
    source = SOURCES[name]
    return osp.join(data_root, source.folder) if source.holder else data_root
