"""One line of the examination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do.

    Attributes:
        state: ``'ok'``, ``'warning'`` (training runs, something is slower or missing) or
            ``'problem'`` (training cannot run).
        text: One line.
    """

    state: str
    text: str

    def __str__(self) -> str:
        return f'{self.state:8} {self.text}'


ok, warning, problem = (partial(Finding, state) for state in ('ok', 'warning', 'problem'))
