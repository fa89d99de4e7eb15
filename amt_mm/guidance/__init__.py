"""Guidance of masks during training: maps, their refresh and their place next to checkpoints."""

from .guidance_hook import GuidanceHook
from .map_hook import MapHook
from .maps_from_encoder_hook import MapsFromEncoderHook
from .maps_from_file_hook import MapsFromFileHook
from .mask_progress_hook import MaskProgressHook
from .saliency_update_hook import SaliencyUpdateHook
from .token_loss_hook import TokenLossHook

__all__ = ['GuidanceHook', 'MapHook', 'MapsFromEncoderHook', 'MapsFromFileHook',
           'MaskProgressHook', 'SaliencyUpdateHook', 'TokenLossHook']
