"""Packages that only some kinds of images need."""

from __future__ import annotations

import importlib
from types import ModuleType

from amt_mm.errors import InputError


class MissingPackage(InputError):
    """A package is not installed; the message does not name the file that needs it."""


def optional(name: str, what: str) -> ModuleType:
    """Import a package of ``amt_mm[images]``.

    Args:
        name: Of the package.
        what: What needs it, for the message.

    Raises:
        MissingPackage: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackage(f"{what} need {name}: pip install 'amt_mm[images]' (or {name})"
                             ) from None
