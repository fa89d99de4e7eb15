"""Unpack the three archives of ImageNet-1K to one folder per class."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from amt_mm.errors import InputError

from .unpacking import open_archive, staging, tar_members, write_member


@dataclass(frozen=True)
class Archive:
    """An archive that users download themselves.

    Attributes:
        filename: As on the download page.
        md5: As on the download page.
        size: For humans.
    """

    filename: str
    md5: str
    size: str


# https://www.image-net.org/challenges/LSVRC/2012/2012-downloads.php
TRAIN = Archive('ILSVRC2012_img_train.tar', '1d675b47d978889d74fa0da5fadfb00e', '138 GB')
VAL = Archive('ILSVRC2012_img_val.tar', '29b22e2961454d5413ddabcf34fc5622', '6.3 GB')
DEVKIT = Archive('ILSVRC2012_devkit_t12.tar.gz', 'fa75699e90414af021442c21a62c3abf', '2.5 MB')

_TRUTH = 'ILSVRC2012_validation_ground_truth.txt'
_META = 'meta.mat'


def unpack_train(archive: Path, root: Path) -> int:
    """Unpack the tar of tars, in one pass, to ``root/train/<wnid>/*.JPEG``.

    Args:
        archive: ``ILSVRC2012_img_train.tar``.
        root: Data root of :class:`amt_mm.datasets.ImageNet`.

    Returns:
        Number of images.

    Raises:
        InputError: The archive is damaged or another one.
    """
    count = 0
    with staging(root / 'train') as target, open_archive(archive) as file:
        for name, inner in tar_members(file):
            wnid = _match(r'(n\d{8})\.tar', name, archive)
            for image, content in tar_members(inner):
                write_member(target / wnid / _match(r'(n\d+_\d+\.JPEG)', image, archive), content)
                count += 1
    return count


def unpack_val(archive: Path, devkit: Path, root: Path) -> int:
    """Unpack the validation images by class, to ``root/val/<wnid>/*.JPEG``.

    Args:
        archive: ``ILSVRC2012_img_val.tar``.
        devkit: ``ILSVRC2012_devkit_t12.tar.gz``, which has the labels.
        root: Data root of :class:`amt_mm.datasets.ImageNet`.

    Returns:
        Number of images.

    Raises:
        InputError: An archive is damaged or another one, or the numbers of images and labels
            differ.
    """
    wnids = read_val_wnids(devkit)
    count = 0
    with staging(root / 'val') as target, open_archive(archive) as file:
        for name, content in tar_members(file):
            number = int(_match(r'ILSVRC2012_val_(\d{8})\.JPEG', name, archive))
            if not 1 <= number <= len(wnids):
                raise InputError(f'{archive}: {devkit} has no label for {name}')
            write_member(target / wnids[number - 1] / name, content)
            count += 1
        if count != len(wnids):
            raise InputError(f'{archive}: {count} images, but {len(wnids)} labels in {devkit}')
    return count


def _match(pattern: str, name: str, archive: Path) -> str:
    found = re.fullmatch(pattern, name)
    if found is None:
        raise InputError(f'{archive}: unexpected member {name!r}: it is another archive')
    return found[1]


def read_val_wnids(devkit: Path) -> list[str]:
    """Read the WordNet id of each validation image, by number, from the devkit.

    Labels are the challenge's own numbers, not places of the sorted folder names; ``meta.mat``
    translates them.

    Raises:
        InputError: The archive is damaged or lacks the two files.
    """
    found = {}
    with open_archive(devkit) as file:
        for name, content in tar_members(file):
            if content is not None:
                found[Path(name).name] = content.read()
    if not found.keys() >= {_TRUTH, _META}:
        raise InputError(f'{devkit}: it lacks {_TRUTH} or {_META}: it is another archive')
    wnids = _read_meta(found[_META], devkit)
    return [wnids[int(number)] for number in found[_TRUTH].split()]


def _read_meta(content: bytes, devkit: Path) -> dict[int, str]:
    """Map the numbers of the challenge to WordNet ids."""
    # A dependency of mmpretrain, unlike scipy.
    from mat4py import loadmat
    try:  # mat4py raises anything on unknown content
        synsets = loadmat(io.BytesIO(content))['synsets']
        return dict(zip(synsets['ILSVRC2012_ID'], synsets['WNID'], strict=True))
    except Exception as error:
        raise InputError(f'{devkit}: {_META} cannot be read '
                         f'({type(error).__name__}: {error})') from error
