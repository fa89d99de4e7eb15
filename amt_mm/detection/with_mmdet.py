"""Data sets, metrics and hooks built on mmdet, for ``custom_imports`` of detection configs.

Nothing else imports these modules, so pre-training works without mmdet.
"""

import warnings

from amt_mm.checkpoints.safe_loading import load_safely
from amt_mm.dependencies import quiet_imports
from amt_mm.errors import InputError

from . import stack  # noqa: F401  (first: reports what is missing)

# For mmdet's own interfaces, such as DetInferencer, which do not import our engine.
load_safely()
# About an optional package that nothing here uses.
warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')

try:
    with quiet_imports():
        from .detector_classes_hook import DetectorClassesHook
        from .instance_metrics import CocoInstanceMetric, LVISInstanceMetric
        from .instances import CocoInstances, LVISInstances
except ImportError as error:
    raise InputError(f'detection needs what mmdet and lvis import, and something is missing '
                     f'({error}): run `make install-detection` in a clone of amt_mm') from error

__all__ = [
    'CocoInstanceMetric', 'CocoInstances', 'DetectorClassesHook', 'LVISInstanceMetric',
    'LVISInstances'
]
