"""Imports point one way: each room knows those before it, and none behind it."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'amt_mm'
# From the idea to the tools. Files at the top (errors, messages, registry, ...) serve all rooms.
ORDER = ['masking', 'saliency', 'checkpoints', 'models', 'datasets', 'evaluation', 'reliability',
         'guidance', 'hooks', 'config', 'engine', 'detection', 'visualization', 'apis', 'cli']


def imports(path):
    """Dotted names of what a file of the package imports from it, relative ones resolved."""
    inside = ('amt_mm', *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            start = inside[:len(inside) - node.level + 1] if node.level else ()
            base = '.'.join([*start, *filter(None, [node.module])])
            yield from (f'{base}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_room_is_in_the_order():
    assert {path.parent.name for path in PACKAGE.glob('*/__init__.py')} == set(ORDER)


def test_no_import_leads_back():
    back = [f'{path.relative_to(PACKAGE)} imports {name}'
            for room in ORDER for path in (PACKAGE / room).rglob('*.py') for name in imports(path)
            if name.startswith('amt_mm.') and (other := name.split('.')[1]) in ORDER
            and ORDER.index(other) > ORDER.index(room)]
    assert back == []


def test_the_package_does_not_know_the_lab():
    assert not [path for path in PACKAGE.rglob('*.py')
                if any(name.split('.')[0] == 'lab' for name in imports(path))]
