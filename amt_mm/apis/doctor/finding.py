"""One line of the examination."""

from __future__ import annotations

from dataclasses import dataclass


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


def ok(text: str) -> Finding:
    """Nothing to do."""
    return Finding('ok', text)


def warning(text: str) -> Finding:
    """Training still runs."""
    return Finding('warning', text)


def problem(text: str) -> Finding:
    """Training cannot run."""
    return Finding('problem', text)
