"""Runner, overlays, mixed precision, sharding and test loops."""

from .bf16 import BF16OptimWrapper
from .knn_loop import KNNTestLoop
from .low_shot_loop import LowShotTestLoop
from .overlay import apply_overlay
from .runner import OverlayRunner
from .safe_loading import load_as_data, load_safely
from .sharded_optimizer import ShardedOptimizer
from .train_loops import ResumableEpochLoop, ResumableIterLoop
from .trained_parameters import TrainedOptimWrapperConstructor

load_safely()

__all__ = [
    'BF16OptimWrapper', 'KNNTestLoop', 'LowShotTestLoop', 'OverlayRunner', 'ResumableEpochLoop',
    'ResumableIterLoop', 'ShardedOptimizer', 'TrainedOptimWrapperConstructor', 'apply_overlay',
    'load_as_data'
]
