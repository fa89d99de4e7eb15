"""Read a config file, also one inside an installed package."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config

from amt_mm.errors import InputError


def read_config(path: str | os.PathLike) -> Config:
    """Read a config.

    Args:
        path: A file, or ``package::path/to/config.py`` for a config of an installed package.

    Raises:
        InputError: No such file or package, or an invalid config.
    """
    path = os.fspath(path)
    if '::' in path:
        package = path.partition('::')[0]
        # MMEngine would pip install a missing package.
        if package not in MODULE2PACKAGE or find_spec(package) is None:
            raise InputError(f'config {path}: no package {package} with configs is installed')
        if not re.fullmatch(r'\w+::\w+/.+', path):
            raise InputError(f'config {path}: write PACKAGE::FOLDER/NAME.py')
        read = get_config
    else:
        require_file(path, 'config')
        read = Config.fromfile
    try:
        return read(path)
    except SyntaxError as error:
        raise InputError(f'config {path} is not valid Python: {error}') from error
    except (OSError, ModuleNotFoundError) as error:
        # A missing base, or an unknown file type.
        raise InputError(f'config {path}: {error}') from error
    except KeyError as error:
        if 'Duplicate key' not in str(error):
            raise
        raise InputError(f'config {path}: {error.args[0]}') from error


def require_file(path: str, role: str) -> None:
    """Raise :class:`InputError` unless ``path`` is a file; addresses with ``://`` pass."""
    if '://' not in path and not Path(path).is_file():
        raise InputError(f'{role} {path}: there is no such file')
