"""ViTDet for pre-trained encoders; nothing here imports mmdet, which only configs name."""

from .feature_pyramid import SimpleFeaturePyramid
from .federated_loss import FederatedCountsHook, FederatedLoss
from .layer_decay import LayerDecayOptimWrapperConstructor
from .relative_attention import RelativeAttention, relative_rows
from .vitdet import ViTDet

__all__ = [
    'FederatedCountsHook', 'FederatedLoss', 'LayerDecayOptimWrapperConstructor',
    'RelativeAttention', 'SimpleFeaturePyramid', 'ViTDet', 'relative_rows'
]
