"""Host methods and the data preprocessor, registered for configs."""

from . import mask_generators  # noqa: F401
from .data_preprocessor import AMTDataPreprocessor
from .host import Host
from .mae import AMTMAE, AMTMAEDecoder, AMTMAEHead, AMTMAEViT

__all__ = ['AMTDataPreprocessor', 'AMTMAE', 'AMTMAEDecoder', 'AMTMAEHead', 'AMTMAEViT', 'Host']
