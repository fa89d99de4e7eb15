"""Read the config text that MMEngine keeps in a checkpoint, without executing it."""

from __future__ import annotations

import ast
import re
import threading
from typing import Any

# MMEngine writes keys between quotes as they are: with any other, the text of a config made of
# settings from a checkpoint would be code.
_KEY = re.compile(r"[^'\"\\\s]*")
# Python 3.11 counts the depth of all threads that parse as one: "recursion depth mismatch".
_PARSING = threading.Lock()


def read_config_text(text: object) -> dict[str, Any]:
    """Evaluate the literals in a config's ``pretty_text``.

    A config is a program and a checkpoint may come from anybody, so only constants, lists,
    tuples, dictionaries and ``dict(...)`` are evaluated.

    Args:
        text: ``meta['cfg']`` of a checkpoint.

    Returns:
        Settings by name, without those that hold anything else, also as keys, which are texts
        without quotes, backslashes and blanks; empty if the text is missing or is not Python.
    """
    try:
        with _PARSING:
            statements = ast.parse(text).body if isinstance(text, str) else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    settings = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                settings[statement.targets[0].id] = _value(statement.value)
            except (ValueError, RecursionError):
                continue
    return settings


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        # dict({'not an identifier': 1}, name=2)
        values = [_value(argument) for argument in node.args]
        if not all(isinstance(value, dict) for value in values):
            raise ValueError('not a dictionary')
        named = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
        if None in named:
            raise ValueError('dict(**...)')
        return {key: value for part in (*values, named) for key, value in part.items()}
    if isinstance(node, ast.Dict):
        return {_key(key): _value(value)
                for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(element) for element in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    return ast.literal_eval(node)


def _key(node: ast.expr | None) -> str:
    key = None if node is None else _value(node)
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError('not a plain key')
    return key
