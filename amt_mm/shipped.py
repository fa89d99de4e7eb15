"""Where the configs and tools lie that come with the package."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError


def tools_folder() -> Path:
    """``tools/`` of the clone, or under ``.mim`` of the installed package."""
    return _folder_beside_package('tools')


def configs_folder() -> Path:
    """``configs/`` of the clone, or under ``.mim`` of the installed package."""
    return _folder_beside_package('configs')


def _folder_beside_package(name: str) -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package.parent / name, package / '.mim' / name):
        if folder.is_dir() and (folder.parent / 'model-index.yml').is_file():
            return folder
    raise InputError(f'{name}/ is neither in the clone nor in the installed package: '
                     'reinstall amt_mm')
