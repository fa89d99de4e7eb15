"""Masking and throwing, in torch alone: weights of the tokens in, a MaskPlan out."""

from .annealed import AnnealedMaskGenerator
from .attmask import AttMaskGenerator, rank_attmask
from .block import BlockMaskGenerator, rank_by_blocks
from .crop_masking import CropMasking
from .gather import patch_grid, patchify, place_tokens, take_tokens, unpatchify
from .generators import AMTMaskGenerator, MaskGenerator, RandomMaskGenerator
from .grid import GridMaskGenerator
from .hint import show_some
from .low_attended import LowAttendedMaskGenerator
from .plan import MASKED, THROWN, VISIBLE, MaskPlan
from .ranking import rank_by_sampling, rank_by_score, rank_uniform, usable_rows
from .ratios import check_ratios, split_counts
from .token_mask import TokenMask
from .weighting import Weighting

__all__ = [
    'MASKED', 'THROWN', 'VISIBLE', 'AMTMaskGenerator', 'AnnealedMaskGenerator',
    'AttMaskGenerator', 'BlockMaskGenerator', 'CropMasking', 'GridMaskGenerator',
    'LowAttendedMaskGenerator', 'MaskGenerator', 'MaskPlan', 'RandomMaskGenerator', 'TokenMask',
    'Weighting', 'check_ratios', 'patch_grid', 'patchify', 'place_tokens', 'rank_attmask',
    'rank_by_blocks', 'rank_by_sampling', 'rank_by_score', 'rank_uniform', 'show_some',
    'split_counts', 'take_tokens', 'unpatchify', 'usable_rows'
]
