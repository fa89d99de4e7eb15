"""Teacher or student: which encoder of a checkpoint of self-distillation is meant."""

from __future__ import annotations

from collections.abc import Iterable

from amt_mm.errors import InputError
from amt_mm.names import ENCODERS

TEACHER = 'teacher.'


def check_encoder(encoder: str | None, where: str = 'encoder') -> None:
    """Refuse what is neither one of ``ENCODERS`` nor None.

    Raises:
        InputError: With the name of the option, ``where``.
    """
    if encoder not in (None, *ENCODERS):
        raise InputError(f"{where}={encoder!r} is unknown: use 'teacher' or 'student', or leave it "
                         'out for the teacher where there is one')


def choose_encoder(names: Iterable[str], encoder: str | None = None
                   ) -> tuple[dict[str, str], str | None]:
    """Find the entries of one of the networks in a checkpoint.

    Args:
        names: Of all entries, in this toolbox's naming: the student's are ``backbone.*``
            and ``head.*``, the teacher's the same behind ``teacher.``.
        encoder: One of ``ENCODERS``. Defaults to None: the teacher where there is one, which
            DINO, iBOT and AttMask publish; else the encoder that there is.

    Returns:
        From each entry's name in a model with one encoder to its name among ``names``, and
        which of ``ENCODERS`` that is; None where there is no choice.

    Raises:
        InputError: There is no such encoder.
    """
    names = list(names)
    check_encoder(encoder)
    has_teacher = any(name.startswith(f'{TEACHER}backbone.') for name in names)
    if encoder == 'teacher' and not has_teacher:
        raise InputError('it holds no teacher, one encoder alone: leave the choice of an encoder '
                         'out')
    if encoder == 'student' and has_teacher and not any(
            name.startswith('backbone.') for name in names):
        raise InputError('it holds a teacher alone, no student: leave the choice of an encoder out')
    if has_teacher and encoder != 'student':
        chosen = {name.removeprefix(TEACHER): name for name in names if name.startswith(TEACHER)}
        return chosen, 'teacher'
    chosen = {name: name for name in names if not name.startswith(TEACHER)}
    return chosen, 'student' if has_teacher else None
