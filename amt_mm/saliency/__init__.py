"""Where the scores come from and live, in torch and numpy alone."""

from .attention import cls_attention, cls_saliency
from .attention_tap import AttentionTap
from .loss_map import LossMap
from .normalize import entropy, min_max
from .rank_correlation import rank_correlation
from .resample import resample
from .store import SaliencyStore, fingerprint
from .writer import SaliencyWriter

__all__ = [
    'AttentionTap', 'LossMap', 'SaliencyStore', 'SaliencyWriter', 'cls_attention',
    'cls_saliency', 'entropy', 'fingerprint', 'min_max', 'rank_correlation', 'resample'
]
