"""Backbone of ViTDet: a plain ViT with windowed attention in all but a few layers."""

from __future__ import annotations

import math

import numpy as np
from mmcv.cnn.bricks import DropPath
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models import VisionTransformer, ViTSAM
from mmpretrain.models.backbones.vit_sam import window_partition, window_unpartition
from mmpretrain.models.utils import LayerScale, build_norm_layer
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .relative_attention import RelativeAttention

# As in pre-training, so that the same weights give the same features.
_NORM = dict(type='LN', eps=1e-6)
_ARCH_KEYS = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')


class ViTDetLayer(BaseModule):
    """Transformer layer with windowed or, with window 0, global attention.

    mmpretrain's ViTSAM layer has stochastic depth in the feed-forward network only; ViTDet, and
    the pre-training ViT, have it in attention, too.

    Args:
        arch: Width, heads and feed-forward channels as in :class:`ViTDet`.
        grid: Rows and columns of patches at the expected image size.
        window_size: Side of a window in patches; 0 for global attention.
        use_rel_pos: Whether attention uses relative positions.
        drop_path_rate: Probability that a sample skips either half of the layer.
        with_cp: Whether to recompute activations in the backward pass (checkpointing).
        layer_scale: Initial scale of each half's output; 0 for none.
    """

    def __init__(self, arch: dict, grid: tuple[int, int], window_size: int, use_rel_pos: bool,
                 drop_path_rate: float, with_cp: bool, layer_scale: float) -> None:
        super().__init__()
        width = arch['embed_dims']
        self.window_size = window_size
        self.with_cp = with_cp
        self.ln1 = build_norm_layer(_NORM, width)
        self.attn = RelativeAttention(
            width, arch['num_heads'], use_rel_pos=use_rel_pos,
            input_size=(window_size, window_size) if window_size else grid)
        if layer_scale > 0:
            # Named as in the pre-training ViT.
            self.attn.gamma1 = LayerScale(width, layer_scale_init_value=layer_scale)
        self.drop_path = DropPath(drop_path_rate)
        self.ln2 = build_norm_layer(_NORM, width)
        self.ffn = FFN(width, arch['feedforward_channels'], act_cfg=dict(type='GELU'),
                       dropout_layer=dict(type='DropPath', drop_prob=drop_path_rate),
                       layer_scale_init_value=layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, D)`` to the same shape."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._run, x, use_reentrant=False)
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        attended = self._attend(self.ln1(x))
        if hasattr(self.attn, 'gamma1'):
            attended = self.attn.gamma1(attended)
        x = x + self.drop_path(attended)
        return self.ffn(self.ln2(x), identity=x)

    def _attend(self, x: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(x)
        windows, padded = window_partition(x, self.window_size)
        return window_unpartition(self.attn(windows), self.window_size, padded, x.shape[1:3])


@MODELS.register_module()
class ViTDet(ViTSAM):
    """A plain ViT as detection backbone (Li et al., ECCV 2022), for pre-trained encoders.

    Parameters are named as in mmpretrain's ``VisionTransformer``, so encoders pre-trained with
    this toolbox load unchanged. Differences from it:

    - No [CLS] token. Pre-trained layers attended to it and these do not, so features equal those
      of the pre-training ViT with its [CLS] removed.
    - No final norm (``ln1`` of a checkpoint is not loaded), as in ViTDet: the pyramid has its
      own.
    - All layers but four, evenly spaced, attend within windows. Windows across the edge are
      padded with zeros that are attended to, as in ViTDet.
    - Relative positions in attention, initialised with zero, so that a pre-trained encoder
      starts with the attention it learned.

    Images may differ from ``img_size``: absolute positions are interpolated bicubically,
    relative ones linearly, and windows are padded.

    Memory: no N x N matrix is stored, see :class:`RelativeAttention`. With ``with_cp`` a layer
    stores its input only.

    Args:
        arch: Name in mmpretrain's ``VisionTransformer``: ViT-T ``'deit-tiny'``, ViT-S
            ``'deit-small'`` (its ``'small'`` is another network), ViT-B ``'base'``, ViT-L
            ``'large'``; or a dict with ``embed_dims``, ``num_layers``, ``num_heads``,
            ``feedforward_channels`` and, optionally, ``global_attn_indexes``. By default the
            last layer of each quarter is global: 2, 5, 8, 11 of 12.
        img_size: Height and width in pixels of the position grid, one number for a square; the
            size that training pads to. Defaults to 1024 as in the paper.
        patch_size: Side of a patch in pixels, as in pre-training.
        window_size: Side of a window in patches. Defaults to 14, the grid of pre-training at
            224 pixels; 0 makes all layers global.
        use_rel_pos: Whether attention uses relative positions.
        drop_path_rate: Of the last layer, increasing linearly from 0 in the first. Defaults to
            0.1 as in the paper for ViT-B; 0.4 for ViT-L.
        with_cp: Whether to save memory by recomputing activations in the backward pass.
        layer_scale_init_value: For encoders pre-trained with LayerScale, such as SimMIM's: any
            value above 0, which the checkpoint overwrites. 0 for none.
        init_cfg: See MMEngine. Defaults to a truncated normal distribution with standard
            deviation .02 for linear layers, as in ViTDet.

    Raises:
        InputError: The architecture is unknown or incomplete.
    """

    # Parameters that no pre-training provides.
    not_pretrained = ('rel_pos_h', 'rel_pos_w')

    def __init__(self, arch: str | dict = 'base', img_size: int | tuple[int, int] = 1024,
                 patch_size: int = 16, window_size: int = 14, use_rel_pos: bool = True,
                 drop_path_rate: float = 0.1, with_cp: bool = False,
                 layer_scale_init_value: float = 0.,
                 init_cfg: dict | list | None = None) -> None:
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer='Linear', std=.02)
        arch = _complete_arch(arch)
        # The parent's own layers are replaced below; full-size ones take seconds to initialise.
        tiny = dict(embed_dims=1, num_heads=1, feedforward_channels=1)
        super().__init__(
            arch=arch, img_size=img_size, patch_size=patch_size, out_channels=0,
            use_rel_pos=use_rel_pos, layer_cfgs=tiny, init_cfg=init_cfg)
        rates = np.linspace(0, drop_path_rate, self.num_layers)
        self.layers = ModuleList(
            ViTDetLayer(arch, self.patch_resolution,
                        0 if i in self.global_attn_indexes else window_size,
                        use_rel_pos, rate, with_cp, layer_scale_init_value)
            for i, rate in enumerate(rates))

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        """Before loading: drop the position of [CLS], and let the parent resize the grid's."""
        name = prefix + 'pos_embed'
        given = state_dict.get(name)
        if given is None or given.shape[-1] != self.embed_dims:
            return  # torch reports the missing or mismatched entry
        if given.ndim == 3:
            if prefix + 'cls_token' in state_dict:
                given = given[:, 1:]
            state_dict[name] = given.unflatten(1, self._grid_of(given.shape[1], name))
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def _grid_of(self, count: int, name: str) -> tuple[int, int]:
        if count == math.prod(self.patch_resolution):
            return self.patch_resolution
        side = math.isqrt(count)
        if side * side != count:
            raise InputError(
                f'{name}: {count} positions are neither a square nor the grid of img_size '
                f'{self.img_size}; load it through amt_mm.PretrainedBackboneHook')
        return side, side


def _complete_arch(arch: str | dict) -> dict:
    zoo = VisionTransformer.arch_zoo
    if isinstance(arch, str):
        if arch.lower() not in zoo:
            raise InputError(f'model.backbone.arch {arch!r}: use one of {", ".join(sorted(zoo))} '
                             f'or a dict with {", ".join(_ARCH_KEYS)}')
        arch = zoo[arch.lower()]
    missing = [key for key in _ARCH_KEYS if key not in arch]
    if missing:
        raise InputError(f'model.backbone.arch: {", ".join(missing)} is missing')
    depth = arch['num_layers']
    return {'global_attn_indexes': sorted({-(-depth * i // 4) - 1 for i in range(1, 5)}), **arch}
