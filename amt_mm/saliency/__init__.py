"""Computing and storing saliency maps, in torch and numpy alone."""

from .attention import cls_attention, cls_saliency, received_attention
from .attention_tap import AttentionTap
from .debias import debias
from .features import feature_deviation, patch_features
from .loss_map import LossMap
from .normalize import entropy, min_max
from .rank_correlation import rank_correlation
from .resample import resample
from .source import SaliencySource
from .store import SaliencyStore, fingerprint
from .writer import SaliencyWriter

__all__ = [
    'AttentionTap', 'LossMap', 'SaliencySource', 'SaliencyStore', 'SaliencyWriter',
    'cls_attention', 'cls_saliency', 'debias', 'entropy', 'feature_deviation', 'fingerprint',
    'min_max', 'patch_features', 'rank_correlation', 'received_attention', 'resample'
]
