"""Layer-wise learning rate decay for detectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mmpretrain.engine import LearningRateDecayOptimWrapperConstructor
from torch import nn

from amt_mm.errors import InputError
from amt_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

# No weight decay by default.
_NO_DECAY = dict(norm_decay_mult=0., bias_decay_mult=0.)
_NO_DECAY_KEYS = {key: dict(decay_mult=0.) for key in ('.pos_embed', '.rel_pos_h', '.rel_pos_w')}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """Layer-wise learning rate decay in the backbone, the full rate elsewhere.

    With L layers and decay rate r, layer i (from 0) has ``r ** (L - i)`` times the learning
    rate, the patch and position embeddings ``r ** (L + 1)`` times, neck and heads all of it.
    mmpretrain's constructor calls ``get_layer_depth`` of the whole model, which detectors lack;
    this one calls that of ``model.backbone``.

    Norms, biases, position embeddings and relative positions have no weight decay, unless
    ``paramwise_cfg`` says otherwise (``norm_decay_mult``, ``bias_decay_mult``, ``custom_keys``).

    Args:
        optim_wrapper_cfg: See :class:`mmengine.optim.DefaultOptimWrapperConstructor`.
        paramwise_cfg: ``layer_decay_rate`` (required; ViTDet: 0.7 for ViT-B, 0.8 for ViT-L),
            and overrides of the defaults above.

    Raises:
        InputError: The rate is missing, or the backbone has no ``get_layer_depth``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise_cfg = paramwise_cfg or {}
        if 'layer_decay_rate' not in paramwise_cfg:
            raise InputError('optim_wrapper.paramwise_cfg.layer_decay_rate is missing: 0.7 for '
                             'ViT-B, 0.8 for ViT-L')
        keys = {**_NO_DECAY_KEYS, **paramwise_cfg.get('custom_keys', {})}
        super().__init__(optim_wrapper_cfg, {**_NO_DECAY, **paramwise_cfg, 'custom_keys': keys})

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   get_layer_depth: Callable | None = None, **kwargs) -> None:
        """Append one group per parameter, as mmpretrain does, with the depths of the backbone."""
        if get_layer_depth is None:
            backbone = getattr(module, 'backbone', None)
            if not hasattr(backbone, 'get_layer_depth'):
                raise InputError(
                    'optim_wrapper.constructor: layer decay needs a backbone with '
                    f'get_layer_depth, such as amt_mm.ViTDet, not {type(backbone).__name__}')
            get_layer_depth = partial(backbone.get_layer_depth, prefix='backbone.')
        super().add_params(params, module, prefix, get_layer_depth, **kwargs)
