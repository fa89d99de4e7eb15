"""Data sets and transforms, registered for configs."""

from .cifar import CIFAR10, CIFAR100
from .concat import ConcatDataset
from .crop import RandomResizedCropWithBox
from .image_folder import ImageFolder
from .imagenet import ImageNet
from .loading import LoadImage
from .packing import PackInputsWithBox
from .scenes import SceneDataset
from .stl10 import STL10
from .tiny_imagenet import TinyImageNet
from .whole_image import base_dataset, dataset_fingerprint, whole_image_view

__all__ = [
    'CIFAR10', 'CIFAR100', 'STL10', 'ConcatDataset', 'ImageFolder', 'ImageNet', 'LoadImage',
    'PackInputsWithBox', 'RandomResizedCropWithBox', 'SceneDataset', 'TinyImageNet',
    'base_dataset', 'dataset_fingerprint', 'whole_image_view'
]
