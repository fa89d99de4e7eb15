"""Register the mask generators of :mod:`amt_mm.masking` for configs."""

from amt_mm.masking import (
    AMTMaskGenerator,
    AnnealedMaskGenerator,
    AttMaskGenerator,
    BlockMaskGenerator,
    CropMasking,
    GridMaskGenerator,
    LowAttendedMaskGenerator,
    RandomMaskGenerator,
)
from amt_mm.registry import TASK_UTILS

for _generator in (RandomMaskGenerator, AMTMaskGenerator, AnnealedMaskGenerator, AttMaskGenerator,
                   BlockMaskGenerator, CropMasking, GridMaskGenerator, LowAttendedMaskGenerator):
    TASK_UTILS.register_module(module=_generator)
