"""Read configs and complete them: overlays, labelled data, image sizes, default hooks."""

from .overlay import apply_overlay

__all__ = ['apply_overlay']
