"""Hooks for distillation, probes, pre-trained weights, checks, summary and progress."""

from .checkpoint_keys_hook import CheckpointKeysHook
from .class_count_hook import ClassCountHook
from .clip_each_hook import ClipEachHook
from .frozen_last_layer_hook import FrozenLastLayerHook
from .knn_probe_hook import KNNProbeHook
from .label_free_probe_hook import LabelFreeProbeHook
from .last_batch_hook import LastBatchHook
from .model_card_hook import ModelCardHook
from .pixel_range_hook import PixelRangeHook
from .predictions_hook import PredictionsHook
from .pretrained_backbone_hook import PretrainedBackboneHook
from .progress_bar_hook import ProgressBarHook
from .rank_result_hook import RankResultHook
from .run_summary_hook import RunSummaryHook
from .sharded_state_hook import ShardedStateHook
from .start_average_hook import StartAverageHook
from .teacher_temperature_hook import TeacherTemperatureHook
from .teacher_update_hook import TeacherUpdateHook

__all__ = [
    'CheckpointKeysHook', 'ClassCountHook', 'ClipEachHook', 'FrozenLastLayerHook', 'KNNProbeHook',
    'LabelFreeProbeHook', 'LastBatchHook', 'ModelCardHook', 'PixelRangeHook', 'PredictionsHook',
    'PretrainedBackboneHook', 'ProgressBarHook', 'RankResultHook', 'RunSummaryHook',
    'ShardedStateHook', 'StartAverageHook', 'TeacherTemperatureHook', 'TeacherUpdateHook'
]
