"""What a checkpoint may bring back into MMEngine's message hub, and into its loops.

MMEngine copies everything that a file says into the message hub of the resumed run, and hooks act
on it: names of checkpoints there are deleted. So what may come back is listed here with its type;
the rest is what the resumed run says of itself, or is left out with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mmengine.logging import HistoryBuffer

from amt_mm.checkpoints.records import (
    are_steps,
    check_record,
    is_number,
    is_step,
    is_step_or_none,
    is_text,
)
from amt_mm.errors import InputError

# What hooks act on: the checkpoints that CheckpointHook keeps, and the best so far.
_RESUMED: tuple[tuple[str, Callable[[object], bool]], ...] = (
    (r'keep_ckpt_ids|outdated_steps|outdated_iters', are_steps),
    (r'between_iter', is_step_or_none),
    (r'best_score(_.*)?', is_number),
    # Of the path, SafeCheckpointHook takes the name alone.
    (r'best_ckpt(_.*)?', is_text),
)
# What a run says of itself before its first step, or of its last validation.
_OWN = re.compile(r'cfg|seed|experiment_name|mmengine_version|dataset_meta|loop_stage|epoch|iter'
                  r'|max_epochs|max_iters|eta|last_ckpt|(train|val|test)/.*'
                  # File names that earlier versions kept; the next save does without them.
                  r'|outdated_ckpts|ckpt_between')


def resumed_hub(hub: object, path: str, warn: Callable[[str], None]) -> dict:
    """Reduce the state of a message hub to what a resumed run takes over.

    Args:
        hub: ``message_hub`` of a checkpoint.
        path: The checkpoint, for messages.
        warn: Told in one line what is left out.

    Returns:
        A state for :meth:`mmengine.logging.MessageHub.load_state_dict`: curves, and those
        entries of ``runtime_info`` that a hook needs.

    Raises:
        InputError: It is not such a state, or an entry that is needed has another type.
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
    """Check the entries of a checkpoint's ``meta`` that a resumed run goes by.

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
