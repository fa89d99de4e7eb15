"""Choose between teacher and student in a checkpoint of self-distillation."""

from __future__ import annotations

from collections.abc import Iterable

from amt_mm.errors import InputError
from amt_mm.names import ENCODERS

TEACHER = 'teacher.'


def check_encoder(encoder: str | None, where: str = 'encoder') -> None:
    """Raise :class:`InputError` naming the option ``where`` unless ``encoder`` is valid or None."""
    if encoder not in (None, *ENCODERS):
        raise InputError(f"{where}={encoder!r} is unknown: use 'teacher' or 'student', or omit it "
                         'for the teacher if there is one')


def choose_encoder(names: Iterable[str], encoder: str | None = None
                   ) -> tuple[dict[str, str], str | None]:
    """Find the entries of one of the networks in a checkpoint.

    Args:
        names: Of all entries, in this toolbox's naming: ``backbone.*`` and ``head.*`` for the
            student, prefixed by ``teacher.`` for the teacher.
        encoder: One of ``ENCODERS``. Defaults to None: the teacher if there is one, as DINO,
            iBOT and AttMask publish it; else the only encoder.

    Returns:
        Name in a model with one encoder -> its name among ``names``; and the encoder's kind,
        None if there was no choice.

    Raises:
        InputError: There is no such encoder.
    """
    names = list(names)
    check_encoder(encoder)
    has_teacher = any(name.startswith(f'{TEACHER}backbone.') for name in names)
    if encoder == 'teacher' and not has_teacher:
        raise InputError('it holds no teacher, only one encoder: do not choose an encoder')
    if encoder == 'student' and has_teacher and not any(
            name.startswith('backbone.') for name in names):
        raise InputError('it holds a teacher but no student: do not choose an encoder')
    if has_teacher and encoder != 'student':
        chosen = {name.removeprefix(TEACHER): name for name in names if name.startswith(TEACHER)}
        return chosen, 'teacher'
    chosen = {name: name for name in names if not name.startswith(TEACHER)}
    return chosen, 'student' if has_teacher else None
