"""What to say where files of a public data set are missing."""

from __future__ import annotations

import os.path as osp

from amt_mm.errors import InputError

from .download import SOURCES, download_command


def archived_folder(name: str, data_root: str) -> str:
    """The folder of a data set that comes as one archive.

    Args:
        name: Of the data set, as ``tools/dataset_tools/download_dataset.py`` knows it.
        data_root: Folder that the archive was unpacked in.

    Returns:
        Path of the archive's own folder.

    Raises:
        InputError: It is not there; the message has the command that gets it.
    """
    folder = osp.join(data_root, SOURCES[name].folder)
    if not osp.isdir(folder):
        raise InputError(f'{folder}: there is no such folder; get the data set by: '
                         f'{download_command(name, data_root or ".")}')
    return folder


def archived_file(name: str, data_root: str, *parts: str) -> str:
    """A file or folder of a data set that comes as one archive.

    Args:
        name: Of the data set.
        data_root: Folder that the archive was unpacked in.
        *parts: Path below the archive's own folder.

    Returns:
        Path of the file.

    Raises:
        InputError: The data set or this part of it is not there.
    """
    folder = archived_folder(name, data_root)
    path = osp.join(folder, *parts)
    if not osp.exists(path):
        raise damaged(name, data_root, f'{path}: is missing')
    return path


def damaged(name: str, data_root: str, fault: str) -> InputError:
    """The error of a data set that is there, but not as its archive has it.

    Args:
        name: Of the data set.
        data_root: Folder that the archive was unpacked in.
        fault: The path, and what is wrong with it.
    """
    folder = osp.join(data_root, SOURCES[name].folder)
    return InputError(f'{fault}; delete {folder} and get the data set anew by: '
                      f'{download_command(name, data_root or ".")}')
