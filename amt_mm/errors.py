"""The error whose message is meant for the user and needs no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Input that the user can mend: one line that says what is wrong and what to do.

    The tools print the message alone and exit with status 2; anything else
    that is raised is a fault of the program and keeps its traceback.
    """
