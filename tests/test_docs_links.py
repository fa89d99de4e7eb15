"""Relative links and anchors of the documentation, and references to it in code, exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')]
FOLDERS = ('amt_mm', 'configs', 'examples', 'lab', 'requirements', 'tests', 'tools')
CODE = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.sh', '.txt')]
FENCES = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
# A page of docs/, with a #anchor or a quoted heading, which a comment may wrap.
REFERENCE = re.compile(r'\bdocs/([\w/-]+\.md)(?:#([\w-]+)|,[\s#]+"([^"]+)")?')


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading.lower())
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


def anchors(page: Path) -> set[str]:
    return {slug(h) for h in re.findall(r'^#+ +(.+?) *$', FENCES.sub('', page.read_text()),
                                        re.MULTILINE)}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in re.findall(r'\]\(([^)\s]+)\)', FENCES.sub('', page.read_text())):
        if re.match(r'\w+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or anchor and anchor not in anchors(file):
            broken.append(target)
    return broken


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_exist(page):
    assert broken_links(page) == []


def test_references_from_code_exist():
    broken = []
    for file in CODE:
        for name, anchor, heading in REFERENCE.findall(file.read_text()):
            page, wanted = ROOT / 'docs' / name, anchor or slug(' '.join(heading.split()))
            if not page.exists() or wanted and wanted not in anchors(page):
                broken.append(f'{file.relative_to(ROOT)}: docs/{name} {wanted}')
    assert broken == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('# A [b](page.md), c\n[x](#a-b-c) [x](page.md#gone) [x](gone.md) [x](https://x)\n'
                    '```\n[x](gone.py)\n```\n')
    assert broken_links(page) == ['page.md#gone', 'gone.md']
