"""Name missing packages in one line, and import the stack without noise.

:mod:`amt_mm.registry` calls these functions when it is first imported.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import torch

# What `pip install amt_mm` brings, by import name and distribution.
_RUNTIME = {
    'torchvision': 'torchvision',
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
}


def check_dependencies(modules: dict[str, str] | None = None) -> None:
    """Raise one clear line if a package that pre-training needs is missing.

    Args:
        modules: Import name -> distribution name. Defaults to the packages
            that pre-training needs.

    Raises:
        ImportError: Names every missing package and the command to install them.
    """
    modules = _RUNTIME if modules is None else modules
    missing = [dist for name, dist in modules.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'amt_mm needs {", ".join(missing)}, which is not installed. Run `make install` in a '
            'clone of amt_mm, or `pip install -r requirements/mminstall.txt '
            '-c requirements/constraints.txt`.')


def declare_torchvision_operators() -> None:
    """Let ``import torchvision`` work where its compiled operators cannot load.

    The torchvision wheel on PyPI is built for CUDA. With a CPU-only torch its
    extension does not load, and ``import torchvision`` dies with "operator
    torchvision::nms does not exist" although nothing here calls that operator.
    Declaring the two schemas (without an implementation: a call still fails)
    is enough. Nothing happens where torchvision imports by itself.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
        library = torch.library.Library('torchvision', 'FRAGMENT')
        library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        # Definitions live as long as the library object does.
        declare_torchvision_operators.library = library
        import torchvision  # noqa: F401


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Import OpenMMLab's packages without their notices on optional parts that nothing here uses.

    These are an operator of mmcv that is not compiled, and the OneDL data sets, of which
    mmpretrain, mmdet and mmseg tell by ``print``.
    """
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        print(re.sub('^Could not import OneDL.*\n', '', printed.getvalue(), flags=re.M), end='')
