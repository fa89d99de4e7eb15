"""mmseg, for ``custom_imports`` of segmentation configs; what is missing is one line.

Nothing else imports it, so pre-training and detection work without mmseg.
"""

from amt_mm.checkpoints.safe_loading import load_safely
from amt_mm.dependencies import quiet_imports
from amt_mm.errors import InputError

from . import stack  # noqa: F401  (first: reports missing operators)

# For mmseg's own interfaces, which do not import our engine.
load_safely()

try:
    with quiet_imports():
        import mmseg.datasets
        import mmseg.models  # noqa: F401
except ImportError as error:
    raise InputError(f'segmentation needs what mmseg imports, and something is missing ({error}): '
                     'run `make install-detection` in a clone of amt_mm') from error
