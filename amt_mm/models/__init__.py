"""Hosts, their parts, the data preprocessor and the classifier, registered for configs."""

from . import mask_generators  # noqa: F401
from .channels_data_preprocessor import ChannelsDataPreprocessor
from .data_preprocessor import AMTDataPreprocessor
from .distillation_head import DistillationHead
from .host import Host, HostViT, embed_patches
from .ibot import IBOT, IBOTViT
from .image_hog import ImageHOG
from .last_blocks import LastBlocksViT
from .mae import AMTMAE, AMTMAEDecoder, AMTMAEHead, AMTMAEViT
from .maskfeat import AMTHOGGenerator, AMTMaskFeat, AMTMaskFeatViT
from .register_vit import RegisterViT
from .released_weights import ReleasedWeights
from .sharded_model import ShardedModel
from .simmim import AMTSimMIM, AMTSimMIMDecoder, AMTSimMIMHead, AMTSimMIMViT
from .vit_classifier import ViTClassifier

__all__ = [
    'AMTDataPreprocessor', 'AMTHOGGenerator', 'AMTMAE', 'AMTMAEDecoder', 'AMTMAEHead', 'AMTMAEViT',
    'AMTMaskFeat', 'AMTMaskFeatViT', 'AMTSimMIM', 'AMTSimMIMDecoder', 'AMTSimMIMHead',
    'AMTSimMIMViT', 'ChannelsDataPreprocessor', 'DistillationHead', 'Host', 'HostViT', 'IBOT',
    'IBOTViT', 'ImageHOG', 'LastBlocksViT', 'RegisterViT', 'ReleasedWeights', 'ShardedModel',
    'ViTClassifier', 'embed_patches'
]
