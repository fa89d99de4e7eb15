"""Python and packages against what amt_mm asks for, and against what it was tested with."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from .finding import Finding, ok, problem, warning

INSTALL = 'run `make install` in a clone of amt_mm, then use its .venv/bin/python'
_PINS = Path(__file__).parents[3] / 'requirements' / 'constraints.txt'


def look_at_versions(pins: Path = _PINS,
                     find: Callable[[str], metadata.Distribution] = metadata.distribution
                     ) -> Iterator[Finding]:
    """Compare versions.

    Args:
        pins: The exact versions of the tests, which only a clone has.
        find: Finds an installed package; raises ``PackageNotFoundError``.

    Yields:
        A finding for Python, one for each package that is missing or out of its range, and one for
        all others.
    """
    python = platform.python_version()
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
        own = find('amt_mm')
    except ImportError as error:  # PackageNotFoundError, too
        yield warning(f'Python {python}; {error.name or error} is not installed, so no version is '
                      f'checked: {INSTALL}')
        return
    asked = SpecifierSet(own.metadata['Requires-Python'] or '')
    yield (ok if python in asked else problem)(
        f'Python {python}' + ('' if python in asked else f', but amt_mm needs {asked}: '
                              'make .venv anew with such a one (make install PYTHON=...)'))
    tested = {}
    for pin in map(Requirement, _lines(pins)):
        if pin.marker is None or pin.marker.evaluate():
            tested[pin.name] = str(pin.specifier).removeprefix('==')
    there, others = [], []
    for need in map(Requirement, own.requires or ()):
        if need.marker is not None and not need.marker.evaluate({'extra': ''}):
            continue
        try:
            version = find(need.name).version
        except metadata.PackageNotFoundError:
            yield problem(f'{need.name} is not installed: {INSTALL}')
            continue
        # A build such as 2.13.0+cpu is of its version.
        if not need.specifier.contains(version, prereleases=True):
            yield problem(f'{need.name} {version}, but amt_mm needs {need.specifier}: {INSTALL}')
        elif version.partition('+')[0] == tested.get(need.name, version.partition('+')[0]):
            there.append(f'{need.name} {version}')
        else:
            others.append(f'{need.name} {version} ({tested[need.name]})')
    if there:
        yield ok(('as tested: ' if tested else '') + ', '.join(there))
    if others:
        yield ok(f'in their ranges, but other versions than were tested: {", ".join(others)}')


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    return [line for line in map(str.strip, file.read_text().splitlines())
            if line and line[0] != '#']
