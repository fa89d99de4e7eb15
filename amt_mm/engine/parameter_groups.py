"""Parameter groups of an optimizer, one for each set of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def merge_groups(groups: Iterable[Mapping]) -> list[dict]:
    """Join parameter groups that have the same settings.

    MMEngine makes one group for each parameter, and a fused optimizer is called for each group: for
    a small network on a CPU, these calls take longer than what they compute.

    Args:
        groups: Of an optimizer that has not taken a step.

    Returns:
        Plain dicts, in the order in which their settings first occur.
    """
    merged: list[tuple[dict, list]] = []
    for group in groups:
        settings = {name: value for name, value in group.items() if name != 'params'}
        parameters = next((known for same, known in merged if same == settings), None)
        if parameters is None:
            merged.append((settings, list(group['params'])))
        else:
            parameters += group['params']
    return [{'params': parameters, **settings} for settings, parameters in merged]
