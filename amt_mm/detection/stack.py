"""Check for what detection and segmentation alone need: mmdet, and mmcv with compiled operators.

Configs list this module in ``custom_imports``, so that reading one without them fails with
one clear line.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from amt_mm.errors import InputError

_INSTALL = 'run `make install-detection` in a clone of amt_mm'


def check_detection_stack() -> None:
    """Require mmdet and mmcv's compiled operators.

    Raises:
        InputError: One of them is missing, or the operators were compiled for another torch.
    """
    if find_spec('mmdet') is None:
        raise InputError('detection needs mmdet (onedl-mmdetection), which is not installed: '
                         f'{_INSTALL}')
    if find_spec('mmcv._ext') is None:
        raise InputError('detection needs mmcv with compiled operators, and this mmcv has none: '
                         f'{_INSTALL}')
    try:
        import_module('mmcv._ext')
    except ImportError as error:
        raise InputError("mmcv's compiled operators do not load, as when they were built for "
                         f'another torch ({str(error).splitlines()[0]}): {_INSTALL}') from error


check_detection_stack()
