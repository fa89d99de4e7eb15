"""Hook of MkDocs: links of the pages lead where they lead on GitHub, also those out of docs/.

On the site, README is the home page, and CONTRIBUTING and CHANGELOG are pages. Other files of the
repository are linked there if its address is given (`repo_url`); otherwise a tooltip has the path.
"""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Pages of the site that are files outside docs/.
BESIDE = {'README.md': 'index.md', 'CONTRIBUTING.md': 'CONTRIBUTING.md',
          'CHANGELOG.md': 'CHANGELOG.md'}
# A block of code, in which there is no link, or a link.
LINK = re.compile(r'^```.*?^```|\[([^]]*)\]\(([^)\s:#]+)((?:#[\w-]+)?)\)', re.M | re.S)


def follow(markdown: str, page: str, repository: str | None) -> str:
    """Rewrite the links of a page, whose path in the site is ``page``."""
    origin = next((file for file, name in BESIDE.items() if name == page), f'docs/{page}')

    def link(found: re.Match) -> str:
        text, path, anchor = found.groups()
        if path is None:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if file in BESIDE or file.startswith('docs/') and posixpath.splitext(file)[1]:
            # A page has a title instead of a file's name. MkDocs reports what does not exist.
            if text.endswith('.md') and (ROOT / file).is_file():
                text = (ROOT / file).read_text().partition('\n')[0].removeprefix('# ')
            path = BESIDE.get(file) or file.removeprefix('docs/')
            path = posixpath.relpath(path, posixpath.dirname(page) or '.')
        elif repository:
            path = f'{repository.rstrip("/")}/blob/HEAD/{file}'
        else:
            return f'<abbr title="{file}">{text}</abbr>'
        return f'[{text}]({path}{anchor})'

    return LINK.sub(link, markdown)


def on_page_markdown(markdown, page, config, **_):
    """Called by MkDocs for each page."""
    return follow(markdown, page.file.src_uri, config.repo_url)
