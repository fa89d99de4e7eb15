"""What detection configs import: the data sets, metrics and hooks that are built on mmdet.

Nothing else imports these modules, so that pre-training works without mmdet.
"""

import warnings

from . import stack  # noqa: F401  (first: says what is missing)

# Of an optional package that nothing here uses.
warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')

from .detector_classes_hook import DetectorClassesHook  # noqa: E402
from .instance_metrics import CocoInstanceMetric, LVISInstanceMetric  # noqa: E402
from .instances import CocoInstances, LVISInstances  # noqa: E402

__all__ = [
    'CocoInstanceMetric', 'CocoInstances', 'DetectorClassesHook', 'LVISInstanceMetric',
    'LVISInstances'
]
