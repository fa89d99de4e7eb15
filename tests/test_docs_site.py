"""The site of `make docs`: every page is in its navigation, links lead on, messages are said."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from load_script import load_script

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
LINKS = load_script(DOCS / 'site/links.py')
# In the first column of its tables; `…` stands for what differs.
MESSAGES = re.findall(r'^\| `([^`]+)` \|', (DOCS / 'troubleshooting.md').read_text(), re.MULTILINE)


def leaves(tree):
    """All pages of a navigation."""
    if isinstance(tree, str):
        return [tree]
    return sum(map(leaves, tree.values() if isinstance(tree, dict) else tree), [])


def test_the_navigation_has_every_page_once():
    # Every scalar is text to this loader, whatever its tag.
    nav = yaml.load((ROOT / 'mkdocs.yml').read_text(), yaml.BaseLoader)['nav']
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob('*.md')]
    rooms = [f'api/{path.parent.name}.md' for path in (ROOT / 'amt_mm').glob('*/__init__.py')]
    assert sorted(leaves(nav)) == sorted(
        [*pages, *rooms, 'api/index.md', 'index.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])


@pytest.mark.parametrize(('page', 'link', 'followed'), [
    ('index.md', '[a](docs/view.md#which-masks)', '[a](view.md#which-masks)'),
    ('index.md', '[docs/view.md](docs/view.md)', '[See what an encoder does](view.md)'),
    ('index.md', '[a](CONTRIBUTING.md)', '[a](CONTRIBUTING.md)'),
    ('view.md', '[a](../README.md#install)', '[a](index.md#install)'),
    ('view.md', '[a](#which-masks)', '[a](#which-masks)'),
    ('appendix/study.md', '![a](../images/b.svg)', '![a](../images/b.svg)'),
    ('appendix/study.md', '[a](../../CHANGELOG.md)', '[a](../CHANGELOG.md)'),
    ('view.md', '[a](https://b.org/c.md)', '[a](https://b.org/c.md)'),
    ('view.md', '[a](../configs/b.py)', '<abbr title="configs/b.py">a</abbr>'),
    ('index.md', '[a](docs/appendix)', '<abbr title="docs/appendix">a</abbr>'),
    ('view.md', '\n```\nx[a](../b.py)\n```\n', '\n```\nx[a](../b.py)\n```\n')])
def test_links_lead_where_they_lead_on_github(page, link, followed):
    assert LINKS.follow(f'(b, {link})', page, None) == f'(b, {followed})'


def test_with_its_address_the_repository_is_linked():
    text = LINKS.follow('[a\nb](../../configs/b.py)', 'appendix/study.md', 'https://b.org/c/')
    assert text == '[a\nb](https://b.org/c/blob/HEAD/configs/b.py)'


def texts(path):
    """The texts in a file, with `…` for each value that is put in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield ''.join(part.value if isinstance(part, ast.Constant) else '…'
                          for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope='module')
def said():
    assert len(MESSAGES) > 30
    return [text for path in (ROOT / 'amt_mm').rglob('*.py') for text in texts(path)]


@pytest.mark.parametrize('message', MESSAGES)
def test_the_package_says_what_the_page_quotes(said, message):
    assert len(re.sub('[^a-z]', '', message)) > 10
    assert any(message in text for text in said)
