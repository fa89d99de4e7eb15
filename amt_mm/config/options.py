"""Check that something reads the options that change a config."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from mmengine.config import Config
from mmengine.runner import Runner

from amt_mm.did_you_mean import did_you_mean
from amt_mm.errors import InputError

# Sections that are read besides the arguments of MMEngine's runner.
_OTHERS = ('auto_scale_lr', 'compile', 'model_wrapper_cfg', 'overlay', 'probe', 'runner_type',
           'find_unused_parameters', 'broadcast_buffers', 'detect_anomalous_params')
_PROBE = ('train', 'test', 'folds')


def check_options(cfg: Config, options: Iterable[str], where: str) -> None:
    """Refuse options that nothing reads.

    Only the first part of a name is checked (for ``probe`` also the second): parts further down are
    arguments of classes, which refuse unknown ones themselves.

    Args:
        cfg: The config.
        options: Dotted names, as for ``--cfg-options``.
        where: Prefix of the message.

    Raises:
        InputError: Names the option and a similar one.
    """
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, *_OTHERS} - {'self'}
    for option in options:
        first, _, rest = option.partition('.')
        if first not in known:
            _refuse(option, first, known, where)
        second = rest.partition('.')[0]
        if first == 'probe' and second and second not in _PROBE:
            _refuse(option, second, _PROBE, where)


def _refuse(option: str, part: str, known: Iterable[str], where: str) -> None:
    raise InputError(f'{where} {option}: nothing reads {part}{did_you_mean(part, known)}')
