"""Read a config file, also one inside an installed package."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config

from amt_mm.did_you_mean import did_you_mean
from amt_mm.errors import InputError
from amt_mm.shipped import configs_folder

# What that target of the Makefile installs, and configs may inherit from.
_DETECTION = ('mmdet', 'mmseg')


def read_config(path: str | os.PathLike) -> Config:
    """Read a config.

    Args:
        path: A file, or ``package::path/to/config.py`` for a config of an installed package.

    Raises:
        InputError: No such file or package, or an invalid config.
    """
    path = os.fspath(path)
    if '::' in path:
        package, _, name = path.partition('::')
        # MMEngine would pip install a missing package.
        if package not in MODULE2PACKAGE or find_spec(package) is None:
            raise InputError(f'config {path}: no package {package} with configs is installed')
        if not re.fullmatch(r'\w+::\w+/.+', path):
            raise InputError(f'config {path}: write PACKAGE::FOLDER/NAME.py')
        configs = Path(find_spec(package).submodule_search_locations[0], '.mim', 'configs')
        if not (configs / name).is_file():
            raise InputError(f'config {path}: {package} has no such config'
                             f'{_similar_config(name, configs, package)}')
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
        package = str(error).partition(' is not installed')[0]
        reason = (f'{package} is not installed: run `make install-detection` in a clone of amt_mm'
                  if package in _DETECTION else error)
        raise InputError(f'config {path}: {reason}') from error
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
    """Raise :class:`InputError` unless ``path`` is a file; addresses with ``://`` pass.

    The message names similar files of its folder or, if it has none, configs of amt_mm.
    """
    # os.path's says no to what the system does not take as a name; Path's raises.
    if '://' in path or os.path.isfile(path):
        return
    folder, name = os.path.split(path)
    there = []
    with suppress(OSError, ValueError):
        there = [each.name for each in os.scandir(folder or '.') if each.is_file()]
    similar = did_you_mean(name, there, most=3, prefix=os.path.join(folder, ''))
    if not similar and name.endswith('.py'):
        similar = _similar_config(f'{os.path.basename(folder)}/{name}', configs_folder(), 'amt_mm')
    raise InputError(f'{role} {path}: there is no such file{similar}')


def _similar_config(name: str, configs: Path, package: str) -> str:
    # Not those that others inherit.
    there = [str(file.relative_to(configs)) for file in configs.rglob('*.py')
             if '_base_' not in file.parts]
    return did_you_mean(name, there, most=3, prefix=f'{package}::')
