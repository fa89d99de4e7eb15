"""Reliability of long runs: guards, stops, complete files, agreement between processes."""

from .bad_images_hook import BadImagesHook
from .nan_guard_hook import NanGuardHook
from .ranks_agree_hook import RanksAgreeHook
from .resume_position_hook import ResumePositionHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .schedule_hook import ScheduleHook
from .step_seed_hook import StepSeedHook
from .stop_signal_hook import StopSignalHook

__all__ = [
    'BadImagesHook', 'NanGuardHook', 'ResumePositionHook', 'RanksAgreeHook', 'SafeCheckpointHook',
    'ScheduleHook', 'StepSeedHook', 'StopSignalHook'
]
