"""The class that the config of a hook names."""

from __future__ import annotations

from amt_mm.registry import HOOKS


def hook_class(kind: object) -> type | None:
    """Look up the class of a hook where it would be built, under the default scope.

    Args:
        kind: ``type`` of a config, a name or a class.

    Returns:
        The class; None if there is none of that name.
    """
    if not isinstance(kind, str):
        return kind if isinstance(kind, type) else None
    with HOOKS.switch_scope_and_registry(None) as registry:
        return registry.get(kind)
