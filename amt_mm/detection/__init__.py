"""ViTDet for pre-trained encoders; nothing here imports mmdet, which only configs name."""

from .feature_pyramid import SimpleFeaturePyramid
from .layer_decay import LayerDecayOptimWrapperConstructor
from .relative_attention import RelativeAttention, relative_rows
from .vitdet import ViTDet

__all__ = [
    'LayerDecayOptimWrapperConstructor', 'RelativeAttention', 'SimpleFeaturePyramid', 'ViTDet',
    'relative_rows'
]
