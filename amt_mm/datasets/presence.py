"""What to say where files of a public data set are missing."""

from __future__ import annotations

import os.path as osp

from amt_mm.errors import InputError

from .download import SOURCES, download_command


def archived_folder(name: str, data_root: str) -> str:
    """Path of the folder of a data set that comes as one archive.

    Args:
        name: Of the data set, as ``tools/dataset_tools/download_dataset.py`` knows it.
        data_root: Of the config.
    """
    source = SOURCES[name]
    return osp.join(data_root, source.folder) if source.holder else data_root


def archived_file(name: str, data_root: str, *parts: str) -> str:
    """Path of a file or folder of a data set that comes as one archive.

    Args:
        name: Of the data set.
        data_root: Of the config.
        *parts: Path below the archive's own folder.

    Raises:
        InputError: The data set or this part of it is not there; the message has
            the command that gets it.
    """
    folder = archived_folder(name, data_root)
    path = osp.join(folder, *parts)
    if not osp.exists(path):
        fault = (f'{path}: is missing' if osp.isdir(folder) else
                 f'{folder}: there is no such folder')
        raise InputError(f'{fault}; get the data set by: {download_command(name, data_root)}')
    return path


def damaged(name: str, data_root: str, fault: str) -> InputError:
    """The error of a data set that is there, but not as its archive has it.

    Args:
        name: Of the data set.
        data_root: Of the config.
        fault: The path, and what is wrong with it.
    """
    return InputError(f'{fault}; move {archived_folder(name, data_root)} away and get the data '
                      f'set anew by: {download_command(name, data_root)}')
