"""Turn a baseline config into a guided one by adding one ``_base_`` file.

MMEngine refuses two bases that set the same key, and both a baseline and its changes set ``model``.
So an overlay file keeps its changes under the key ``overlay``; they are merged when the runner is
built:

- a ``type`` that is a dict maps baseline classes to replacements (``{'MAE': 'amt_mm.AMTMAE'}``); a
  class of amt_mm that the user has chosen stays, any other class is refused. A string replaces any
  class;
- any other field only fills a gap: what the user's own file says wins;
- ``drop`` lists fields (dotted paths) that the new types do not have;
- ``transforms`` maps a transform of the training pipeline to its replacement, the name of a class
  or a dict of it (``type``) and of fields to change;
- ``hooks`` are named, like ``default_hooks``, so that a derived overlay can change one field; they
  join ``custom_hooks``, where the user's own hook of the same type wins;
- ``labelled`` is a data set for a protocol: see :mod:`amt_mm.config.labelled`;
- ``image_size`` is for the whole config: see :mod:`amt_mm.config.image_size`;
- so is ``pixels``, how image files are read: see :mod:`amt_mm.config.pixels`;
- ``reduced_images`` is a folder for small copies of large photographs, which are read in their
  place: see :mod:`amt_mm.config.reduced_images`. With ``pixels``, which reads other images, it has
  no effect.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config, ConfigDict
from mmpretrain.registry import TRANSFORMS

from amt_mm.config_parts import class_name
from amt_mm.errors import InputError

from .image_size import dataset_pipelines, set_image_size
from .labelled import apply_labelled
from .pixels import set_pixels
from .reduced_images import set_reduced_images

# Fields of an overlay that are not sections of a config.
SPECIAL = ('drop', 'hooks', 'image_size', 'labelled', 'pixels', 'reduced_images', 'transforms')
# Types of sections that are no dicts, with their name in messages.
_SECTIONS = {'drop': ((list, tuple), 'list'), 'reduced_images': (str, 'folder')}
# Types of the entries of a section, with their name in messages.
_ENTRIES = {'drop': (str, 'name'), 'hooks': (Mapping, 'dict'),
            'transforms': ((str, Mapping), 'name or a dict')}


def apply_overlay(cfg: Config) -> Config:
    """Merge ``cfg.overlay`` into the rest of the config, in place.

    Args:
        cfg: Any config; one without ``overlay`` loses the scope of amt_mm alone.

    Returns:
        The same config, without ``overlay``.

    Raises:
        InputError: The overlay names a field or transform that the config lacks, or a section of
            it is of another type than the config's.
    """
    for part in cfg.values():
        _drop_own_scope(part)
    if 'overlay' not in cfg:
        return cfg
    overlay = cfg.pop('overlay')
    _check_kinds(overlay)
    special = {name: overlay.pop(name, None) for name in SPECIAL}
    for path in special['drop'] or ():
        *parents, last = path.split('.')
        section = cfg
        for name in parents:
            section = section.get(name, {})
        section.pop(last, None)
    if special['labelled'] is not None:
        apply_labelled(cfg, special['labelled'])
    # Both places are common, but the runner reads only one.
    if 'data_preprocessor' in cfg.get('model', {}):
        own = cfg.model.pop('data_preprocessor')
        _fill(own, cfg.get('data_preprocessor', ConfigDict()))
        cfg.data_preprocessor = own
    for key, changes in overlay.items():
        if key not in cfg:
            raise InputError(f'the overlay changes `{key}`, which the config does not have: list a '
                             'complete baseline and the overlay in _base_')
        if not isinstance(cfg[key], dict):
            raise InputError(f'the overlay changes `{key}`, which is not a dict in the config: '
                             'only fields of dicts can be changed')
        _merge(cfg[key], changes, f'overlay.{key}')
    if special['transforms']:
        _replace_transforms(cfg, dict(special['transforms']))
    if special['image_size'] is not None:
        set_image_size(cfg, special['image_size'])
    if special['pixels'] is not None:
        set_pixels(cfg, special['pixels'])
    elif special['reduced_images'] is not None:
        set_reduced_images(cfg, special['reduced_images'])
    for name, hook in (special['hooks'] or {}).items():
        _add_hook(cfg, name, hook)
    _fix_collate(cfg)
    return cfg


def _drop_own_scope(part: object) -> None:
    """Drop the ``_scope_`` that MMEngine adds to what is inherited from ``amt_mm::``.

    Configs of amt_mm name its classes in full, and under its scope those of mmpretrain that they
    name without one are not found.
    """
    if isinstance(part, dict):
        if part.get('_scope_') == 'amt_mm':
            del part['_scope_']
        part = part.values()
    elif not isinstance(part, (list, tuple)):
        return
    for below in part:
        _drop_own_scope(below)


def _check_kinds(overlay: object) -> None:
    if not isinstance(overlay, Mapping):
        raise InputError(f'overlay={overlay!r} must be a dict, as in configs/_base_/amt')
    for name, section in overlay.items():
        if name == 'image_size' or (section is None and name in SPECIAL):
            continue
        kind, word = _SECTIONS.get(name, (Mapping, 'dict'))
        if not isinstance(section, kind):
            raise InputError(f'overlay.{name}={section!r} must be a {word}')
        if isinstance(section, str):
            continue
        kind, word = _ENTRIES.get(name, (object, ''))
        for key, entry in section.items() if name != 'drop' else enumerate(section):
            if not isinstance(entry, kind):
                raise InputError(f'overlay.{name}.{key}={entry!r} must be a {word}')


def _merge(config: ConfigDict, changes: ConfigDict, path: str) -> None:
    changes = dict(changes)
    chosen, wanted = config.get('type', ''), changes.pop('type', None)
    if wanted is not None and not (wanted and isinstance(wanted, (str, dict))):
        raise InputError(f'{path}.type={wanted!r} must be the name of a class, or a dict from '
                         'names to names')
    if isinstance(wanted, dict):
        if chosen.split('.')[-1] in wanted:
            wanted = wanted[chosen.split('.')[-1]]
        elif chosen.startswith('amt_mm.') or not chosen:
            wanted = next(iter(wanted.values()))
        else:
            old, new = next(iter(wanted.items()))
            raise InputError(f'the overlay replaces {old} by {new}, but the config has '
                             f'type={chosen!r} there: derive your class from {new} and register '
                             'it under amt_mm')
    if wanted and chosen.startswith('amt_mm.') and chosen != wanted:
        return
    if wanted:
        config['type'] = wanted
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _merge(config[key], value, f'{path}.{key}')
        elif key not in config:
            config[key] = value


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _fill(config[key], value)
        else:
            config.setdefault(key, value)


def _replace_transforms(cfg: Config, substitutes: dict[str, str | Mapping]) -> None:
    substitutes = {name: dict(type=given) if isinstance(given, str) else given
                   for name, given in substitutes.items()}
    for name, given in substitutes.items():
        if not isinstance(given.get('type'), str):
            raise InputError(f'overlay.transforms.{name}={dict(given)} has no type, the name of a '
                             'class')
    transforms = [transform for pipeline in dataset_pipelines(cfg.train_dataloader.dataset)
                  for transform in pipeline]
    found = {class_name(transform) for transform in transforms}
    for transform in transforms:
        transform.update(substitutes.get(class_name(transform), {}))
    # A class derived from the replacement is as good.
    present = [TRANSFORMS.get(transform['type']) for transform in transforms]
    missing = {name for name in set(substitutes) - found
               if not any(cls and issubclass(cls, TRANSFORMS.get(substitutes[name]['type']))
                          for cls in present)}
    if missing:
        raise InputError(f'the training pipeline has no {", ".join(sorted(missing))}, which the '
                         'overlay replaces: guided masking needs the box of each crop')


def _add_hook(cfg: Config, name: str, hook: ConfigDict) -> None:
    if 'type' not in hook:
        raise InputError(f'overlay.hooks.{name} has no type, only {dict(hook)}: the overlay has '
                         'no hook of that name to change')
    if not isinstance(hook['type'], str):
        raise InputError(f'overlay.hooks.{name}.type={hook["type"]!r} must be the name of a class')
    # Config.setdefault would return a copy.
    if not cfg.get('custom_hooks'):
        cfg.custom_hooks = []
    hooks = cfg.custom_hooks
    for own in hooks:
        if class_name(own) == class_name(hook):
            _fill(own, hook)
            return
    hooks.append(hook)


def _fix_collate(cfg: Config) -> None:
    """Drop the ``_scope_`` that MMEngine adds to a ``collate_fn`` inherited from ``mmpretrain::``.

    The runner would pass it to the function as an argument.
    """
    collate = cfg.get('train_dataloader', {}).get('collate_fn')
    if isinstance(collate, dict):
        collate.pop('_scope_', None)
