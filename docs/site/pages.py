"""Hook of MkDocs: adds the pages that are not files in docs/, namely README and the reference.

The reference has a page for each room of the package: what its ``__init__`` exports (or, if it
exports nothing, its modules) and what else it registers for configs. The text is in the docstrings.
"""

import re
from pathlib import Path

from links import BESIDE
from mkdocs.structure.files import File

PACKAGE = Path(__file__).parents[2] / 'amt_mm'
REGISTERED = re.compile(r'^@\w+\.register_module\([^)]*\)\n(?:class|def) (\w+)', re.M)
# Files at the top of the package that one's own code meets.
TOP = ('registry', 'protocols', 'errors')


def on_files(files, config):
    """Called by MkDocs when it has found the files in docs/."""
    pages = {name: (PACKAGE.parent / file).read_text() for file, name in BESIDE.items()}
    pages['api/index.md'] = '# API reference\n' + blocks((f'amt_mm.{name}' for name in TOP), 2)
    for init in PACKAGE.glob('*/__init__.py'):
        pages[f'api/{init.parent.name}.md'] = room_page(init)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))


def room_page(init: Path) -> str:
    """The page of a room, as directives of mkdocstrings."""
    text, room = init.read_text(), f'amt_mm.{init.parent.name}'
    page = (f'# {room}\n\n::: {room}\n'
            '    options: {show_root_heading: false, show_root_toc_entry: false}\n')
    modules = {dotted(path): path for path in sorted(init.parent.rglob('*.py')) if path != init}
    if '__all__' not in text:
        return page + blocks(modules, 2)
    # Griffe takes the name of a function that is its module's, too, for the module.
    ends = {module: module.rpartition('.')[2] for module in modules}
    namesakes = [f'{module}.{name}' for module, name in ends.items() if f"'{name}'" in text]
    registered = [f'{module}.{name}' for module, path in modules.items()
                  for name in REGISTERED.findall(path.read_text()) if f"'{name}'" not in text]
    return page + blocks(namesakes, 2) + (
        '\n## Also registered for configs\n\n' + blocks(registered, 3) if registered else '')


def dotted(path: Path) -> str:
    """The name by which a file of the package is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


def blocks(names, level: int) -> str:
    """A directive for each name, under a heading of this level."""
    return ''.join(f'\n::: {name}\n    options: {{heading_level: {level}}}\n' for name in names)
