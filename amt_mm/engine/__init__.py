"""Runner and overlays."""

from .overlay import apply_overlay
from .runner import OverlayRunner

__all__ = ['OverlayRunner', 'apply_overlay']
