"""Data sets and transforms, registered for configs."""

from .backgrounds import BackgroundsFolder
from .bad_images import BadImages
from .cifar import CIFAR10, CIFAR100
from .concat import ConcatDataset
from .crop import RandomResizedCropWithBox
from .davis import DavisVideos
from .fast_crop import DecodeRandomResizedCrop, ReadImage
from .few_labels import few_labels
from .flowers import Flowers102
from .image_folder import ImageFolder
from .imagenet import ImageNet
from .landmarks import CropToBox, RevisitedLandmarks
from .load_mask import LoadMask
from .load_pixels import LoadPixels
from .load_reduced import LoadReducedImage
from .loading import LoadImage
from .pack_writer import pack
from .packed import PackedImages
from .packing import PackInputsWithBox
from .repeated import RepeatedCrops, collate_repeats
from .replace_bad_images import ReplaceBadImages
from .scenes import SceneDataset
from .seeded import SeededSamples
from .segmentation_folder import SegmentationFolder
from .staged import StagedDataset
from .stand_ins import with_stand_ins
from .stl10 import STL10
from .tiny_imagenet import TinyImageNet
from .whole_image import base_dataset, dataset_fingerprint, whole_image_view

__all__ = [
    'CIFAR10', 'CIFAR100', 'STL10', 'BackgroundsFolder', 'BadImages', 'ConcatDataset', 'CropToBox',
    'DavisVideos', 'DecodeRandomResizedCrop', 'Flowers102', 'ImageFolder', 'ImageNet', 'LoadImage',
    'LoadMask', 'LoadPixels', 'LoadReducedImage', 'PackInputsWithBox', 'PackedImages',
    'RandomResizedCropWithBox', 'ReadImage', 'RepeatedCrops', 'ReplaceBadImages',
    'RevisitedLandmarks', 'SceneDataset', 'SeededSamples', 'SegmentationFolder', 'StagedDataset',
    'TinyImageNet', 'base_dataset', 'collate_repeats', 'dataset_fingerprint', 'few_labels', 'pack',
    'whole_image_view', 'with_stand_ins'
]
