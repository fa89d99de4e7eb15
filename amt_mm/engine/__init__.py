"""Runner, training loops, optimisation, compiling."""

from amt_mm.checkpoints.safe_loading import load_safely

from .bf16 import BF16OptimWrapper
from .mae_lars import MAELARS
from .runner import OverlayRunner
from .sharded_optimizer import ShardedOptimizer
from .train_loops import ResumableEpochLoop, ResumableIterLoop
from .trained_parameters import TrainedOptimWrapperConstructor

# MMEngine's own ways of loading a checkpoint, for the whole process.
load_safely()

__all__ = [
    'BF16OptimWrapper', 'MAELARS', 'OverlayRunner', 'ResumableEpochLoop', 'ResumableIterLoop',
    'ShardedOptimizer', 'TrainedOptimWrapperConstructor'
]
