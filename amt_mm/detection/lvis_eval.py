"""LVIS evaluation by the lvis package, on current numpy."""

from __future__ import annotations

from types import FunctionType, ModuleType

import lvis.eval
import numpy as np
from lvis import LVIS, LVISResults
from lvis import LVISEval as _LVISEval

_NUMPY = ModuleType('numpy')
_NUMPY.__dict__.update(vars(np), float=float)


class LVISEval(_LVISEval):
    """The unchanged evaluation of the lvis package (Gupta et al., CVPR 2019).

    Its last release, 0.5.3, uses ``np.float``, removed in numpy 1.24, in one method. This class
    runs that method with an ``np`` that has the name; neither numpy nor lvis is patched.
    """

    accumulate = FunctionType(
        _LVISEval.accumulate.__code__, {**vars(lvis.eval), 'np': _NUMPY}, 'accumulate')


class LVISTruth(LVIS):
    """Annotations that are read already; the package's class reads files only."""

    def _load_json(self, path: dict) -> dict:
        return path


__all__ = ['LVISEval', 'LVISResults', 'LVISTruth']
