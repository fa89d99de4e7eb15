"""Names that command lines offer.

This file imports nothing: the tools parse their arguments before they import the stack.
"""

# Networks of a checkpoint of self-distillation.
ENCODERS = ('teacher', 'student')
# Code bases whose names of parameters are known; amt_mm/checkpoints/naming_rules.py has the rules.
NAMINGS = ('mmpretrain', 'mae', 'timm', 'simmim', 'ibot', 'dino', 'transformers', 'dinov2',
           'transformers-dinov2', 'dinov3', 'transformers-dinov3', 'timm-dinov3', 'lightly')

# Libraries and formats that an encoder is exported to.
EXPORTS = ('timm', 'transformers', 'onnx', 'torch')

# Tokens of an encoder that features are made of.
TOKENS = ('cls', 'mean', 'both', 'patches')

# Public data sets for evaluation -> their files in configs/_base_/datasets/labelled.
DATA = {'cifar10': 'cifar10', 'cifar100': 'cifar100', 'tiny-imagenet': 'tiny_imagenet',
        'stl10': 'stl10', 'in1k': 'imagenet'}
# Those of other papers.
MORE_DATA = {'flowers102': 'flowers102'}
# Those with masks, for semantic segmentation.
MASKED_DATA = {'ade20k': 'ade20k'}
# Those with changed backgrounds.
BACKGROUND_DATA = {'in9': 'imagenet9'}
# Those of videos.
VIDEO_DATA = {'davis2017': 'davis2017'}
# Data sets of one public archive; amt_mm/datasets/download/sources.py has their addresses.
DOWNLOADS = ('cifar10', 'cifar100', 'tiny-imagenet', 'stl10')

# Arguments of AMTMaskGenerator.
THROWS = ('middle', 'low', 'random')
MASKS = ('high', 'random')
VISIBLES = ('ranked', 'random')

# Types of stored saliency maps.
MAP_TYPES = ('float16', 'uint8')
# Which patches masked accuracy paints first -> what a table calls it.
ORDERS = {'high': 'most attended', 'low': 'least attended', 'random': 'random'}

TRUST = 'AMT_MM_TRUST_CHECKPOINT'
"""Environment variable that lets checkpoints run code; inherited by the processes a tool starts."""

# Recipes of pre-training on one's own images -> their overlays in configs/_base_.
RECIPES = {'recommended': 'recommended/mae.py', 'mae': 'amt/mae-random.py', 'amt': 'amt/mae-amt.py',
           'continue': 'recommended/continue.py'}
# Networks for them -> their files configs/pretrain/mae_NAME_folder.py.
SIZES = {'mini': 'vit-mini-p8', 'small': 'vit-small-p16', 'base': 'vit-base-p16'}
