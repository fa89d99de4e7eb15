"""Read a config file, also one that an installed package carries."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config

from amt_mm.errors import InputError


def read_config(path: str | os.PathLike) -> Config:
    """Read a config.

    Args:
        path: A file, or ``package::path/to/config.py`` for a config that an
            installed package carries.

    Raises:
        InputError: No such file or package, or a config that cannot be read.
    """
    path = os.fspath(path)
    if '::' in path:
        package = path.partition('::')[0]
        # Checked here, because mmengine would pip install a package that it does not find.
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
        # A base that is not there, or an unknown kind of file.
        raise InputError(f'config {path}: {error}') from error
    except KeyError as error:
        if 'Duplicate key' not in str(error):
            raise
        raise InputError(f'config {path}: {error.args[0]}') from error
    except Exception as error:
        # A config is a program, and the user's.
        reason = str(error).strip().partition('\n')[0]
        raise InputError(f'config {path}: {type(error).__name__}: {reason}') from error


def merge_options(cfg: Config, options: Mapping) -> None:
    """Enter options of a command line in a config.

    Raises:
        InputError: They do not fit it.
    """
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, AssertionError, AttributeError) as error:
        # The last is how mmengine says that one number of a list cannot be replaced.
        raise InputError(f'--cfg-options do not fit the config: {error.args[0]} (replace a list '
                         'of numbers as a whole)') from error


def require_file(path: str, role: str) -> None:
    """Raise :class:`InputError` unless ``path`` is a file; addresses with ``://`` pass."""
    # os.path's says no to what the system does not take as a name; Path's raises.
    if '://' not in path and not os.path.isfile(path):
        raise InputError(f'{role} {path}: there is no such file')
