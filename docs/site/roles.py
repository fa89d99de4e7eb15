"""Extension of griffe: what docstrings have of reStructuredText becomes Markdown.

That is Sphinx's roles, such as :class:`~a.b.C`, and the colons that announce a literal block.
"""

import re

import griffe

ROLE = re.compile(r':(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`')
# A paragraph that is nothing but these colons is not shown.
COLONS = re.compile(r'^::$|(?<=\S):(?=:$)| ::$', re.M)


class Markdown(griffe.Extension):
    """Rewrites the docstrings of a package once it is read."""

    def on_package(self, *, pkg, **_):
        """Called by griffe."""
        rewrite(pkg)


def rewrite(scope):
    """Rewrite the docstring of a module, class or function, and of all within it."""
    def reference(found):
        short, path = found.groups()
        try:
            target = path if path.startswith('amt_mm.') else scope.resolve(path.lstrip('.'))
        except griffe.NameResolutionError:
            target = path
        text = path.rpartition('.')[2] if short else path
        # Code without a link where the target is not a part of the reference.
        return f'<autoref identifier="{target}" optional>`{text}`</autoref>'

    if scope.docstring:
        scope.docstring.value = ROLE.sub(reference, COLONS.sub('', scope.docstring.value))
    for member in scope.members.values():
        if not member.is_alias:
            rewrite(member)
