"""Hooks for MMEngine's runner, one verb each."""

from .checkpoint_keys_hook import CheckpointKeysHook
from .epoch_seed_hook import EpochSeedHook
from .progress_bar_hook import ProgressBarHook
from .saliency_update_hook import SaliencyUpdateHook

__all__ = ['CheckpointKeysHook', 'EpochSeedHook', 'ProgressBarHook', 'SaliencyUpdateHook']
