"""LVIS evaluation by the lvis package, on a numpy of today."""

from __future__ import annotations

from types import FunctionType, ModuleType

import lvis.eval
import numpy as np
from lvis import LVISEval as _LVISEval
from lvis import LVISResults


def _numpy_with_float() -> ModuleType:
    numpy = ModuleType('numpy')
    numpy.__dict__.update(vars(np), float=float)
    return numpy


class LVISEval(_LVISEval):
    """The lvis package's evaluation (Gupta et al., CVPR 2019), all of it unchanged.

    Release 0.5.3, the last, names Python's ``float`` as ``np.float`` in one method, which
    numpy 1.24 removed. That method runs here with a ``np`` of its own, which has the name;
    neither numpy nor the package is altered for anyone else.
    """

    accumulate = FunctionType(
        _LVISEval.accumulate.__code__, {**vars(lvis.eval), 'np': _numpy_with_float()},
        'accumulate')


__all__ = ['LVISEval', 'LVISResults']
