"""Masking and throwing, in torch alone: one weight per token in, a MaskPlan out.

*Masked* tokens are predicted, *thrown* ones never computed, *visible* ones encoded. A *strategy*
says which tokens are masked, *throw* which of the others are thrown; a *hint* is a masked token
that is revealed. *Saliency* has one value per token of the whole image, *weights* one per token of
the crop.
"""

from .amt import AMTMaskGenerator
from .annealed import AnnealedMaskGenerator
from .attmask import AttMaskGenerator, rank_attmask
from .block import BlockMaskGenerator, rank_by_blocks
from .crop_masking import CropMasking
from .frequencies import count_states
from .gather import patch_grid, patchify, place_tokens, take_tokens, unpatchify
from .generators import MaskGenerator, RandomMaskGenerator
from .grid import GridMaskGenerator
from .hint import reveal_hints
from .low_attended import LowAttendedMaskGenerator
from .plan import MASKED, THROWN, VISIBLE, MaskPlan
from .ranking import rank_by_sampling, rank_by_weight, rank_uniform, usable_rows
from .ratios import check_ratios, split_counts
from .token_mask import TokenMask
from .weighting import Weighting

__all__ = [
    'MASKED', 'THROWN', 'VISIBLE', 'AMTMaskGenerator', 'AnnealedMaskGenerator',
    'AttMaskGenerator', 'BlockMaskGenerator', 'CropMasking', 'GridMaskGenerator',
    'LowAttendedMaskGenerator', 'MaskGenerator', 'MaskPlan', 'RandomMaskGenerator', 'TokenMask',
    'Weighting', 'check_ratios', 'count_states', 'patch_grid', 'patchify', 'place_tokens',
    'rank_attmask', 'rank_by_blocks', 'rank_by_sampling', 'rank_by_weight', 'rank_uniform',
    'reveal_hints', 'split_counts', 'take_tokens', 'unpatchify', 'usable_rows'
]
