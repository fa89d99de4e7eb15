"""Data sets and transforms, registered for configs."""

from .concat import ConcatDataset
from .crop import RandomResizedCropWithBox
from .image_folder import ImageFolder
from .loading import LoadImage
from .packing import PackInputsWithBox
from .scenes import SceneDataset
from .whole_image import base_dataset, dataset_fingerprint, whole_image_view

__all__ = [
    'ConcatDataset', 'ImageFolder', 'LoadImage', 'PackInputsWithBox', 'RandomResizedCropWithBox',
    'SceneDataset', 'base_dataset', 'dataset_fingerprint', 'whole_image_view'
]
