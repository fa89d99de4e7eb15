"""ViTDet on pre-trained encoders; importing this needs no mmdet, unlike :mod:`.with_mmdet`."""

from .feature_pyramid import SimpleFeaturePyramid
from .federated_loss import FederatedCountsHook, FederatedLoss
from .layer_decay import LayerDecayOptimWrapperConstructor
from .relative_attention import RelativeAttention, expand_relative_positions
from .vitdet import ViTDet

__all__ = [
    'FederatedCountsHook', 'FederatedLoss', 'LayerDecayOptimWrapperConstructor',
    'RelativeAttention', 'SimpleFeaturePyramid', 'ViTDet', 'expand_relative_positions'
]
