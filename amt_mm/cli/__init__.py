"""What the tools share before the stack is imported."""

from .parse_first import parse_first

__all__ = ['parse_first']
