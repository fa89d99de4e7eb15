"""What a checkpoint may restore in MMEngine's message hub and loops.

MMEngine copies the whole message hub of a file into the resumed run, and hooks act on it: they
delete checkpoints that it names. Therefore the entries that are restored are listed here with their
types; others are set by the resumed run itself, or dropped with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mmengine.logging import HistoryBuffer

from amt_mm.checkpoints.records import are_steps, check_record, is_step, is_step_or_none, is_text
from amt_mm.checks import is_number
from amt_mm.errors import InputError

# Used by hooks: the checkpoints that CheckpointHook keeps, and the best so far.
_RESUMED: tuple[tuple[str, Callable[[object], bool]], ...] = (
    (r'keep_ckpt_ids|outdated_steps|outdated_iters', are_steps),
    (r'between_iter', is_step_or_none),
    (r'best_score(_.*)?', is_number),
    # SafeCheckpointHook uses only the file name of this path.
    (r'best_ckpt(_.*)?', is_text),
)
# Set by a run itself before its first step, or results of the last validation.
_OWN = re.compile(r'cfg|seed|experiment_name|mmengine_version|dataset_meta|loop_stage|epoch|iter'
                  r'|max_epochs|max_iters|eta|last_ckpt|(train|val|test)/.*'
                  # File names, of earlier versions; not used any more.
                  r'|outdated_ckpts|ckpt_between')


def resumed_hub(hub: object, path: str, warn: Callable[[str], None]) -> dict:
    """Reduce the state of a message hub to what a resumed run takes over.

    Args:
        hub: ``message_hub`` of a checkpoint.
        path: The checkpoint, for messages.
        warn: Called with one line that names what is dropped.

    Returns:
        A state for :meth:`mmengine.logging.MessageHub.load_state_dict`: curves, and those
        entries of ``runtime_info`` that a hook needs.

    Raises:
        InputError: It is not such a state, or a listed entry has another type.
    """
    parts = ('log_scalars', 'runtime_info', 'resumed_keys')
    check_record(hub, {name: lambda part: isinstance(part, Mapping) for name in parts},
                 f'{path}: its message hub')
    scalars = {name: curve for name, curve in hub['log_scalars'].items()
               if is_text(name) and isinstance(curve, HistoryBuffer)}
    info, unknown = {}, []
    for name, value in hub['runtime_info'].items():
        fits = next((fits for pattern, fits in _RESUMED if re.fullmatch(pattern, str(name))), None)
        if fits is not None:
            info.update(check_record({name: value}, {name: fits}, f'{path}: its message hub'))
        elif not _OWN.fullmatch(str(name)):
            unknown.append(str(name)[:40])
    if unknown:
        warn(f'{path}: {len(unknown)} entries of its message hub are left out, since only listed '
             f'ones are resumed: {", ".join(sorted(unknown)[:4])} (a hook keeps its own state by '
             'before_save_checkpoint and after_load_checkpoint)')
    kept = {**scalars, **info}
    return {'log_scalars': scalars, 'runtime_info': info,
            'resumed_keys': {name: bool(resumed) for name, resumed in hub['resumed_keys'].items()
                             if name in kept}}


def check_meta(meta: object, path: str) -> None:
    """Check the entries of a checkpoint's ``meta`` that a resumed run uses.

    Raises:
        InputError: ``epoch`` or ``iter`` is missing, or one of them or ``seed`` is not a whole
            number.
    """
    known = meta if isinstance(meta, Mapping) else {}
    for name, fits in (('epoch', is_step), ('iter', is_step), ('seed', _is_seed)):
        if not fits(known.get(name)):
            raise InputError(f'{path}: it cannot be resumed, since its meta.{name} is '
                             f'{str(known.get(name, "missing"))[:60]}; load its weights alone by '
                             'load_from, without --resume')


def _is_seed(value: object) -> bool:
    # numpy takes no larger one.
    return value is None or (is_step(value) and value < 2**32)
