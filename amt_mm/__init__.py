"""amt_mm: masked image modelling guided by the model's own attention.

``amt_mm.masking`` and ``amt_mm.saliency`` need torch and numpy only. Everything
else builds on OpenMMLab and is imported through :mod:`amt_mm.registry`, which
checks that the packages it needs are there.
"""

from .version import __version__

__all__ = ['__version__']
