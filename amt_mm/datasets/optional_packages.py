"""Packages that only some kinds of images need."""

from __future__ import annotations

import importlib
from types import ModuleType

from amt_mm.errors import InputError


def optional(name: str, what: str) -> ModuleType:
    """Import a package of ``amt_mm[images]``.

    Args:
        name: Of the package.
        what: What needs it, for the message.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{what} need {name}: pip install 'amt_mm[images]' (or {name})") from None
