"""Check that the options that change a config are read by something."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import Registry, root
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from amt_mm.config_parts import LOADERS
from amt_mm.did_you_mean import did_you_mean
from amt_mm.errors import InputError

from .default_hooks import DEFAULT_HOOKS
from .overlay import SPECIAL

# Sections that are read besides the arguments of MMEngine's runner.
_OTHERS = ('auto_scale_lr', 'compile', 'model_wrapper_cfg', 'overlay', 'probe', 'runner_type',
           'find_unused_parameters', 'broadcast_buffers', 'detect_anomalous_params')
_PROBE = ('train', 'test', 'folds')
# Further entries that sections without a `type` accept.
_TAKEN = {'overlay': SPECIAL, 'probe': _PROBE,
          'optim_wrapper': tuple(inspect.signature(OptimWrapper).parameters),
          **dict.fromkeys(LOADERS, tuple(inspect.signature(DataLoader).parameters))}


def check_options(cfg: Config, options: Mapping[str, object], where: str) -> list[str]:
    """Refuse options that nothing reads.

    The first part of a name must be a section that is read. A part further down that the config
    lacks may be an argument of the class that the section names by its `type`, or a key that is
    free, such as one of ``custom_keys``; it is refused only if no such class takes it and one that
    is there has a similar name.

    Args:
        cfg: The config, before the options are entered.
        options: As for ``--cfg-options``: dotted names and values.
        where: Prefix of the message.

    Returns:
        A line for each option that is added without anything known to read it.

    Raises:
        InputError: Names the option and a similar one.
    """
    sections = {*cfg, *cfg.get('overlay', {}), *inspect.signature(Runner.__init__).parameters,
                *_OTHERS} - {'self'}
    added = []
    for option in options:
        first, *rest = parts = option.split('.')
        if first not in sections:
            raise InputError(f'{where} {option}: nothing reads {first}'
                             f'{did_you_mean(first, sections)}')
        if not rest or knows(cfg, option):
            continue
        path, part, nodes = _end(cfg, parts)
        if not path:  # a section that is read, and that the config leaves out
            path, part, nodes = first, rest[0], []
            if path not in _TAKEN:
                continue
        taken = _taken(cfg, path, nodes, options)
        if part in taken or part == '_delete_':
            continue
        there = {key for node in nodes if isinstance(node, Mapping) for key in node}
        similar = did_you_mean(part, taken | there)
        if similar or path == 'probe':
            raise InputError(f'{where} {option}: nothing reads {part} there{similar}')
        added.append(f'{where} {option}: the config has no {part} there, it is added')
    return added


def knows(cfg: Config, key: str) -> bool:
    """Whether a config has a setting, by its dotted name.

    What an overlay sets, and the hooks that our runner adds, are part of the config,
    although they are merged later.
    """
    wish = key.removeprefix('overlay.')
    if wish != key and (wish in SPECIAL or wish.startswith(('image_size.', 'pixels.'))):
        return 'overlay' in cfg
    parts = key.split('.')
    return any(depth == len(parts) for depth, _ in _walks(cfg, parts))


def reads(cfg: Config, key: str, options: Mapping[str, object]) -> bool:
    """Whether a config has a setting, or a section whose class or loader takes it as an argument.

    Args:
        cfg: The config.
        key: Dotted name of the setting.
        options: All options, which may choose the class.
    """
    if knows(cfg, key):
        return True
    path, part, nodes = _end(cfg, key.split('.'))
    return bool(path) and part in _taken(cfg, path, nodes, options)


def _taken(cfg: Config, path: str, nodes: list, options: Mapping[str, object]) -> set[str]:
    """What a section accepts besides what it has."""
    return {*_TAKEN.get(path, ()), *(
        argument for node in nodes for kind in _kinds(node, options.get(f'{path}.type'))
        for argument in _arguments(kind, cfg.get('default_scope', 'mmpretrain')))}


def _walks(cfg: Config, parts: list[str]) -> list[tuple[int, object]]:
    """Follow a name in each source of settings: the number of parts found, and where they lead."""
    return [_walk(node, parts)
            for node in (cfg, cfg.get('overlay', {}), {'default_hooks': DEFAULT_HOOKS})]


def _walk(node: object, parts: list[str]) -> tuple[int, object]:
    for depth, part in enumerate(parts):
        children = dict(enumerate(node)) if isinstance(node, (list, tuple)) else node
        name = int(part) if children is not node and part.isdigit() else part
        if not isinstance(children, (Config, Mapping)) or name not in children:
            return depth, node
        node = children[name]
    return len(parts), node


def _end(cfg: Config, parts: list[str]) -> tuple[str, str, list]:
    """Return the part of a name that is found, the next part, and the sections it is missing in."""
    walks = _walks(cfg, parts)
    depth = max(depth for depth, _ in walks)
    return ('.'.join(parts[:depth]), parts[depth],
            [node for reached, node in walks if reached == depth])


def _kinds(node: object, chosen: object) -> Iterator[str]:
    """Yield the class names of a section; in an overlay, those of the replacements."""
    given = node.get('type') if isinstance(node, Mapping) else None
    for kind in (chosen, *(given.values() if isinstance(given, Mapping) else [given])):
        if isinstance(kind, str):
            yield kind


def _arguments(kind: str, scope: str) -> set[str]:
    """Arguments of a class and its parents, to which it may pass them on."""
    found = _find(kind, scope)
    makers = ([vars(each)['__init__'] for each in found.__mro__ if '__init__' in vars(each)]
              if isinstance(found, type) else [found] if callable(found) else [])
    names = set()
    for maker in makers:
        with suppress(ValueError):  # a class written in C has no signature
            names.update(inspect.signature(maker).parameters)
    return names - {'self', 'args', 'kwargs'}


def _find(kind: str, scope: str) -> object:
    names = (kind,) if '.' in kind else (f'{scope}.{kind}', kind)
    for registry in (each for each in vars(root).values() if isinstance(each, Registry)):
        for name in names:
            # Raised for an unknown name that has a scope.
            with suppress(RuntimeError):
                if found := registry.get(name):
                    return found
    return None
