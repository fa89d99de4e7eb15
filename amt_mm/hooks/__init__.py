"""Hooks for MMEngine's runner, one verb each."""

from .bad_images_hook import BadImagesHook
from .checkpoint_keys_hook import CheckpointKeysHook
from .class_count_hook import ClassCountHook
from .clip_each_hook import ClipEachHook
from .finite_guard_hook import FiniteGuardHook
from .frozen_last_layer_hook import FrozenLastLayerHook
from .guidance_hook import GuidanceHook
from .knn_probe_hook import KNNProbeHook
from .last_batch_hook import LastBatchHook
from .mask_progress_hook import MaskProgressHook
from .position_hook import PositionHook
from .pretrained_backbone_hook import PretrainedBackboneHook
from .progress_bar_hook import ProgressBarHook
from .rank_result_hook import RankResultHook
from .ranks_agree_hook import RanksAgreeHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .saliency_update_hook import SaliencyUpdateHook
from .schedule_hook import ScheduleHook
from .sharded_state_hook import ShardedStateHook
from .step_seed_hook import StepSeedHook
from .stop_signal_hook import StopSignalHook
from .teacher_temperature_hook import TeacherTemperatureHook
from .teacher_update_hook import TeacherUpdateHook
from .token_loss_hook import TokenLossHook

__all__ = [
    'BadImagesHook', 'CheckpointKeysHook', 'ClassCountHook', 'ClipEachHook', 'FiniteGuardHook',
    'FrozenLastLayerHook', 'GuidanceHook', 'KNNProbeHook', 'LastBatchHook', 'MaskProgressHook',
    'PositionHook', 'PretrainedBackboneHook', 'ProgressBarHook', 'RankResultHook',
    'RanksAgreeHook', 'SafeCheckpointHook', 'SaliencyUpdateHook', 'ScheduleHook',
    'ShardedStateHook', 'StepSeedHook', 'StopSignalHook', 'TeacherTemperatureHook',
    'TeacherUpdateHook', 'TokenLossHook'
]
