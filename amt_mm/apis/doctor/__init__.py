"""What training needs of a machine and its Python, looked at one by one.

Nothing here imports the stack: it may be what is broken. What only the stack can tell is asked of
processes of their own (:mod:`.probe`, :mod:`.exchange`), so that a crash is a finding, too.
"""

from .examine import examine
from .finding import Finding

__all__ = ['Finding', 'examine']
