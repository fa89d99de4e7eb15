"""Measures of a frozen encoder: k-NN, linear probe, attention on the object. Needs torch only."""

from .accuracy import accuracy
from .attention_on_object import ObjectAttention, attention_on_object
from .features import extract_features
from .knn import knn_classify, knn_rank
from .linear_probe import LinearProbe, fit_linear_probe

__all__ = [
    'LinearProbe', 'ObjectAttention', 'accuracy', 'attention_on_object', 'extract_features',
    'fit_linear_probe', 'knn_classify', 'knn_rank'
]
