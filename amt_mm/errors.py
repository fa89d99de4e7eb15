"""Errors that end a tool on purpose: input that the user can correct, and a requested stop."""

from __future__ import annotations

# EX_TEMPFAIL of sysexits.h, "try again later": below 126, so that no shell takes it for a signal
# or a missing command; neither Python's 1 nor our 2 for bad input; srun and torchrun pass it on.
REQUEUE_STATUS = 75
# What shells give for SIGINT, Ctrl-C: a person has ended the run, and no scheduler shall go on.
INTERRUPTED_STATUS = 130


class InputError(ValueError):
    """Input that the user can correct: one line that says what is wrong and what to do.

    The tools print the message alone and exit with status 2; anything else
    that is raised is a fault of the program and keeps its traceback.
    """


class UnreadableImage(InputError):
    """An unreadable image: missing, damaged or not an image; training may replace it."""


class RunError(RuntimeError):
    """A tool failed that this process started; the message names its log."""


class TrainingStopped(SystemExit):
    """Training ended early because of a signal; all that a resumed run needs is saved.

    Left alone, it ends the process with :data:`REQUEUE_STATUS`; after Ctrl-C, with
    :data:`INTERRUPTED_STATUS`.

    Args:
        line: What was saved, and how to go on.
        status: Exit status of the process.
    """

    def __init__(self, line: str, status: int = REQUEUE_STATUS) -> None:
        super().__init__(status)
        self.line = line

    def __str__(self) -> str:
        return self.line
