"""The registries of amt_mm, children of MMEngine's roots.

A config names a class of this package as ``type='amt_mm.Name'``. MMEngine then
imports this module by itself, so no config needs ``custom_imports``, and
``_base_ = 'amt_mm::mae/...'`` finds the configs that the package carries.
"""

from .dependencies import check_dependencies, declare_torchvision_operators, quiet_imports

check_dependencies()
declare_torchvision_operators()
with quiet_imports():
    import mmpretrain.datasets  # noqa: F401

from mmengine import registry as root  # noqa: E402
from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

from .protocols import PROTOCOLS  # noqa: E402

# Lets mmengine resolve `amt_mm::path/to/config.py`.
MODULE2PACKAGE['amt_mm'] = 'amt_mm'
# It knows mmseg by the name of the distribution that ours continues.
MODULE2PACKAGE['mmseg'] = 'mmseg'

# Backbones, necks, heads, algorithms and data preprocessors.
MODELS = Registry('model', parent=root.MODELS, locations=['amt_mm.models', 'amt_mm.detection'])
MODEL_WRAPPERS = Registry(
    'model wrapper', parent=root.MODEL_WRAPPERS, locations=['amt_mm.models'])
# Mask generators.
TASK_UTILS = Registry('task util', parent=root.TASK_UTILS, locations=['amt_mm.models'])
DATASETS = Registry('dataset', parent=root.DATASETS, locations=['amt_mm.datasets'])
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, locations=['amt_mm.datasets'])
HOOKS = Registry('hook', parent=root.HOOKS,
                 locations=['amt_mm.guidance', 'amt_mm.reliability', 'amt_mm.hooks'])
RUNNERS = Registry('runner', parent=root.RUNNERS, locations=['amt_mm.engine'])
FUNCTIONS = Registry('function', parent=root.FUNCTIONS, locations=['amt_mm.datasets'])
LOOPS = Registry('loop', parent=root.LOOPS, locations=[
    'amt_mm.engine', *(each.loop for each in PROTOCOLS.values() if each.loop)])
METRICS = Registry('metric', parent=root.METRICS, locations=['amt_mm.evaluation.backgrounds'])
OPTIMIZERS = Registry('optimizer', parent=root.OPTIMIZERS, locations=['amt_mm.engine'])
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=root.OPTIM_WRAPPERS, locations=['amt_mm.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['amt_mm.detection', 'amt_mm.engine'])

__all__ = [
    'DATASETS', 'FUNCTIONS', 'HOOKS', 'LOOPS', 'METRICS', 'MODELS', 'MODEL_WRAPPERS', 'OPTIMIZERS',
    'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'RUNNERS', 'TASK_UTILS', 'TRANSFORMS'
]
