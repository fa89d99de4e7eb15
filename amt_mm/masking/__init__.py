"""Masking and throwing, in torch alone: weights of the tokens in, a MaskPlan out."""

from .annealed import AnnealedMaskGenerator
from .block import BlockMaskGenerator
from .gather import patch_grid, patchify, place_tokens, take_tokens, unpatchify
from .generators import AMTMaskGenerator, MaskGenerator, RandomMaskGenerator
from .grid import GridMaskGenerator
from .low_attended import LowAttendedMaskGenerator
from .plan import MASKED, THROWN, VISIBLE, MaskPlan
from .ranking import rank_by_sampling, rank_uniform, usable_rows
from .ratios import check_ratios, split_counts

__all__ = [
    'MASKED', 'THROWN', 'VISIBLE', 'AMTMaskGenerator', 'AnnealedMaskGenerator',
    'BlockMaskGenerator', 'GridMaskGenerator', 'LowAttendedMaskGenerator', 'MaskGenerator',
    'MaskPlan', 'RandomMaskGenerator', 'check_ratios', 'patch_grid', 'patchify', 'place_tokens',
    'rank_by_sampling', 'rank_uniform', 'split_counts', 'take_tokens', 'unpatchify', 'usable_rows'
]
