"""Read the file of a study: what is compared, on which data, how often."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amt_mm.checks import is_number
from amt_mm.config.reading import read_config, require_file
from amt_mm.errors import InputError

_SETTINGS = ('baseline', 'seeds', 'datasets', 'recipes', 'options')


@dataclass(frozen=True)
class Recipe:
    """Changes to a data set's base config.

    Attributes:
        name: In tables and on the command line.
        overlay: Config files, merged in order.
        options: Entries as for ``--cfg-options``.
        shares: Options set to this share of the config's epochs, rounded to whole epochs.
        budget: ``'epochs'``, those of the data set's config, or ``'compute'``, as many as cost
            what the baseline costs, or a number: this share of the baseline's cost.
    """

    name: str
    overlay: tuple[str, ...]
    options: dict = field(default_factory=dict)
    shares: dict = field(default_factory=dict)
    budget: str | float = 'epochs'

    @property
    def share(self) -> float | None:
        """Cost of the run relative to the baseline's; None if the epochs are given."""
        return {'epochs': None, 'compute': 1.}.get(self.budget, self.budget)


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: That of the file.
        baseline: The recipe that others are compared to.
        seeds: Seeds of training.
        datasets: Name -> base config.
        recipes: Name -> recipe, the baseline first.
        options: For all runs; those of a recipe win.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    datasets: dict[str, str]
    recipes: dict[str, Recipe]
    options: dict


def read_study(path: str | Path) -> Study:
    """Read the file of a study; see the head of ``configs/studies/attention.py``.

    Args:
        path: A config of MMEngine, which may inherit another one in its folder; or
            ``package::path``. Files that it names are relative to its folder.

    Raises:
        InputError: No such file, or a setting that is missing, unknown or of the wrong type.
    """
    cfg = read_config(path)
    found = {name: value for name, value in cfg.to_dict().items() if not name.startswith('_')}
    for name in found:
        if name not in _SETTINGS:
            raise InputError(f'study {path}: {name} is not a setting of a study; it has '
                             f'{", ".join(_SETTINGS)}, and names that begin with _ are your own')
    for name, kind in (('baseline', str), ('seeds', (list, tuple)), ('datasets', Mapping),
                       ('recipes', Mapping)):
        if not isinstance(found.get(name), kind) or not found[name]:
            raise InputError(f'study {path}: {name}={found.get(name)!r}; see the head of '
                             'configs/studies/attention.py')
    seeds, baseline = found['seeds'], found['baseline']
    if any(type(seed) is not int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise InputError(f'study {path}: seeds={seeds} must be different whole numbers')
    if baseline not in found['recipes']:
        raise InputError(f'study {path}: baseline={baseline!r} is not one of the recipes '
                         f'{list(found["recipes"])}')
    folder = Path(cfg.filename).parent
    recipes = {name: _recipe(name, found['recipes'][name], folder, path)
               for name in (baseline, *found['recipes'])}
    if recipes[baseline].budget != 'epochs':
        raise InputError(f'study {path}: the baseline {baseline!r} gives the compute of the others '
                         "and cannot have a budget itself")
    options = found.get('options', {})
    _check_options(options, f'study {path}: options')
    _check_folders(recipes, path)
    # Reserved for the tables over data sets.
    _check_folders(('pooled', *found['datasets']), path)
    datasets = {name: _config(file, folder, f'study {path}: data set {name!r}')
                for name, file in found['datasets'].items()}
    return Study(Path(path).stem, baseline, tuple(seeds), datasets, recipes, options)


def folder_name(name: str) -> str:
    """Folder name of a recipe or data set: ``'AMT, 75/10'`` becomes ``'AMT-75-10'``."""
    return re.sub(r'[^\w.+=]+', '-', name).strip('-.')


def _recipe(name: str, found: object, folder: Path, path: str | Path) -> Recipe:
    where = f'study {path}: recipe {name!r}'
    if not isinstance(found, Mapping) or not found.get('overlay'):
        raise InputError(f"{where} must be a dict with `overlay`, such as "
                         "dict(overlay='../_base_/amt/mae-amt.py')")
    known = ('overlay', 'options', 'shares', 'budget')
    for key in found:
        if key not in known:
            raise InputError(f'{where}: {key} is unknown; it can have {", ".join(known)}')
    overlay = found['overlay']
    files = [overlay] if isinstance(overlay, str) else overlay
    options, shares = found.get('options', {}), found.get('shares', {})
    _check_options(options, f'{where}: options')
    _check_options(shares, f'{where}: shares')
    for key, share in shares.items():
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise InputError(f'{where}: shares[{key!r}]={share!r} must be a share of the epochs, '
                             'from 0 to 1')
        if key in options:
            raise InputError(f'{where}: {key} is both in options and in shares')
    budget = found.get('budget', 'epochs')
    if budget not in ('epochs', 'compute') and not (is_number(budget) and 0 < budget < math.inf):
        raise InputError(f"{where}: budget={budget!r} must be 'epochs', 'compute' or a share of "
                         "the baseline's cost, such as 0.5")
    return Recipe(name, tuple(_config(file, folder, where) for file in files), dict(options),
                  dict(shares), budget)


def _config(file: object, folder: Path, where: str) -> str:
    if not isinstance(file, str):
        raise InputError(f'{where}: {file!r} must be the path of a config')
    if '::' in file:
        return file
    require_file(str(folder / file), f'{where}: config')
    return str(folder / file)


def _check_options(options: object, where: str) -> None:
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise InputError(f"{where} must be a dict such as {{'train_cfg.max_epochs': 12}}")


def _check_folders(names: Iterable[str], path: str | Path) -> None:
    taken: dict[str, str] = {}
    for name in names:
        own = folder_name(name).lower()
        if not own or own in taken:
            raise InputError(f'study {path}: {name!r} '
                             + (f'and {taken[own]!r} would share the folder {own}' if own else
                                'has no letter that a folder could be called by'))
        taken[own] = name
