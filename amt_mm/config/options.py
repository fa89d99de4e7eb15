"""Options that a config is changed by: whether anything takes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches

from mmengine.config import Config
from mmengine.runner import Runner

from amt_mm.errors import InputError

# What of a config is read beside the arguments of MMEngine's runner.
_OTHERS = ('auto_scale_lr', 'compile', 'model_wrapper_cfg', 'overlay', 'probe', 'runner_type',
           'find_unused_parameters', 'broadcast_buffers', 'detect_anomalous_params')
# Like these, `probe` is read by name; most sections are arguments of something that refuses others.
_PROBE = ('train', 'test', 'folds')


def check_options(cfg: Config, options: Iterable[str], where: str) -> None:
    """Refuse options that nothing would read: they would be merged and change nothing.

    A part further down that no config has may be an argument of what is built there, which
    says so itself if it is none.

    Args:
        cfg: The config.
        options: Dotted names, as for ``--cfg-options``.
        where: Of whom, for the message.

    Raises:
        InputError: Names the option, and a similar one.
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


def did_you_mean(part: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: a similar one, or nothing."""
    close = get_close_matches(part, sorted(known), n=1)
    return f'; did you mean {close[0]}?' if close else ''
