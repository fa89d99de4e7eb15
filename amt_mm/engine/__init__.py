"""Runner, overlays and test loops."""

from .knn_loop import KNNTestLoop
from .low_shot_loop import LowShotTestLoop
from .overlay import apply_overlay
from .runner import OverlayRunner

__all__ = ['KNNTestLoop', 'LowShotTestLoop', 'OverlayRunner', 'apply_overlay']
