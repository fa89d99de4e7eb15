"""Host: interface of masked image modelling methods that follow a mask plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from mmengine.model import BaseModule
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan, patch_grid, patchify, place_tokens, take_tokens, unpatchify

from .blocks import use_fast_blocks
from .recompute import enable_recompute
from .register_vit import RegisterViT


class Host(BaseSelfSupervisor):
    """A method that predicts masked tokens from visible ones according to a plan.

    A host defines three things: its ``backbone`` encodes according to a plan (``encode(patches,
    plan)``), :meth:`predict` turns the encoder's tokens into predictions of the masked ones, and
    :meth:`target` computes what they should be. None of them may use thrown tokens. How to add a
    host: ``docs/add_a_host.md``.

    The ``backbone`` must also have ``grid`` (rows and columns of patches), ``patch_size`` in
    pixels, and a forward on images alone in which every token is visible, for saliency and
    features.

    Args:
        *args: See :class:`mmpretrain.models.selfsup.base.BaseSelfSupervisor`.
        **kwargs: See there.

    Attributes:
        report_token_losses: Whether :meth:`loss` also returns the loss of each token. Set by
            :class:`~amt_mm.guidance.TokenLossHook`; False by default.
        loss_weights: Weights of losses by name; 1 for those that are missing.
    """

    report_token_losses = False
    loss_weights: Mapping[str, float] = MappingProxyType({})

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.data_preprocessor.patch_size = self.backbone.patch_size

    @abstractmethod
    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Predict the masked tokens.

        Args:
            tokens: Result of ``backbone.encode``.
            plan: The plan of the batch.

        Returns:
            ``(B, n_masked, D)`` in the order of ``plan.masked``.
        """

    def predictions(self, tokens: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Predict the masked tokens for each loss of the method; by default for one.

        Args:
            tokens: Result of ``backbone.encode``.
            plan: The plan of the batch.

        Returns:
            Predictions by name of their loss; that of :meth:`predict` is ``'loss'``. All names must
            contain "loss": MMEngine minimises the sum of these entries and logs each of them, so
            ``loss`` in a log is that of :meth:`predict` alone.
        """
        return {'loss': self.predict(tokens, plan)}

    def target(self, inputs: Tensor, patches: Tensor, plan: MaskPlan) -> Tensor:
        """Compute the targets of the masked tokens; by default their pixels.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            patches: Their patches, ``(B, N, P * P * C)``.
            plan: The plan of the batch.

        Returns:
            ``(B, n_masked, D)`` in the order of ``plan.masked``.
        """
        return take_tokens(patches, plan.masked)

    def image_losses(self, inputs: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Compute losses of the image as a whole; by default none.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            tokens: Result of ``backbone.encode``.

        Returns:
            Scalars by name, which must contain "loss".
        """
        return {}

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor',
                plan: MaskPlan | None = None) -> dict | tuple:
        """Call :meth:`loss` (mode 'loss') or :meth:`extract_feat` ('tensor'), for MMEngine."""
        if mode == 'loss':
            return self.loss(inputs, data_samples, plan)
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list | None, plan: MaskPlan) -> dict:
        """Compute the losses of the masked tokens.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            data_samples: Not used.
            plan: The plan of the batch.

        Returns:
            A scalar for each of :meth:`predictions` and, with ``report_token_losses``,
            ``per_token``: :meth:`token_losses` of ``loss``. This key does not contain "loss", so
            that MMEngine does not add it to the total.
        """
        if plan is None:
            raise InputError('the batch has no mask plan: set '
                             "data_preprocessor.type='amt_mm.AMTDataPreprocessor'")
        return self.losses(inputs, plan)

    def losses(self, inputs: Tensor, plan: MaskPlan) -> dict:
        """Compute the result of :meth:`loss`: only tensors in and out, so that it compiles."""
        patches = self.patchify(inputs)
        tokens = self.backbone.encode(patches, plan)
        predictions = self.predictions(tokens, plan)
        target = self.target(inputs, patches, plan)
        losses = {name: self.head.loss(pred, target) for name, pred in predictions.items()}
        losses.update(self.image_losses(inputs, tokens))
        losses = {name: loss * self.loss_weights.get(name, 1.) for name, loss in losses.items()}
        if self.report_token_losses:
            losses['per_token'] = self.token_losses(predictions['loss'], target)
        return losses

    @torch.no_grad()
    def token_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each masked token by applying the head to this token alone.

        For heads whose loss is the mean of these; hosts with other heads override this.

        Args:
            pred: ``(B, n_masked, D)``.
            target: The same shape.

        Returns:
            ``(B, n_masked)`` fp32, without gradient.
        """
        def one(pred: Tensor, target: Tensor) -> Tensor:
            return self.head.loss(pred[None, None], target[None, None])

        each = torch.vmap(one)(pred.detach().flatten(0, 1), target.flatten(0, 1))
        return each.float().unflatten(0, pred.shape[:2])

    @torch.no_grad()
    def reconstruct(self, inputs: Tensor, plan: MaskPlan) -> Tensor:
        """Replace the masked patches of images by their predictions, for hosts that predict pixels.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            plan: The plan of the batch.

        Returns:
            ``(B, C, H, W)``, still normalised as ``inputs``.
        """
        patches = self.patchify(inputs)
        pred = self.predict(self.backbone.encode(patches, plan), plan)
        pred = self.head.denormalize_patches(pred, take_tokens(patches, plan.masked))
        patches = place_tokens(pred.to(patches.dtype), plan.masked, patches)
        return unpatchify(patches, plan.grid, self.backbone.patch_size)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Encode whole images, nothing masked; see the backbone's forward."""
        return self.backbone(inputs)

    def patchify(self, inputs: Tensor) -> Tensor:
        """Cut crops into patches of the backbone's grid, ``(B, N, P * P * C)``.

        Raises:
            InputError: The size of the crops is not the backbone's ``img_size``.
        """
        grid = patch_grid(*inputs.shape[-2:], self.backbone.patch_size)
        if grid != self.backbone.grid:
            raise InputError(
                f'the images have {grid[0]}x{grid[1]} patches, the model has '
                f'{self.backbone.grid[0]}x{self.backbone.grid[1]}; set model.backbone.img_size '
                'to the size of the crops')
        return patchify(inputs, self.backbone.patch_size)


class HostViT(RegisterViT):
    """Base of the encoders of hosts, to be listed before mmpretrain's class among the bases.

    That class must be a :class:`mmpretrain.models.VisionTransformer`.

    Args:
        img_size: Height and width of the crops in pixels, one number for a square.
        patch_size: Side of a patch in pixels.
        in_channels: Number of channels of the crops. Defaults to 3.
        with_cp: Gradient checkpointing, see :mod:`amt_mm.models.recompute`: less memory for 20 to
            33 % more time. Defaults to False.
        layer_scale_init_value: Initial LayerScale, which DINOv2 and SimMIM have. Defaults to 0:
            none.
        frozen_stages: Number of blocks, from the first on, that keep the weights they start from,
            as do patch embedding, positions, [CLS] and registers. Without a mask token, which is
            still trained, they cost no backward pass. Defaults to 0: all blocks are trained.
        **kwargs: Arguments of :class:`~amt_mm.models.RegisterViT`, whose registers and rotary
            positions continue DINOv2 and DINOv3, and of mmpretrain's class.

    Attributes:
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
        in_channels: Number of channels of the crops.

    Raises:
        InputError: A size is invalid, the image is not a multiple of the patch, or no block would
            be trained.
    """

    def __init__(self, img_size: int | tuple[int, int] = 224, patch_size: int = 16,
                 in_channels: int = 3, with_cp: bool = False, layer_scale_init_value: float = 0.,
                 frozen_stages: int = 0, **kwargs) -> None:
        if type(in_channels) is not int or in_channels < 1:
            raise InputError(f'model.backbone.in_channels={in_channels!r} must be a whole number, '
                             'at least 1')
        if type(patch_size) is not int or patch_size < 1:
            raise InputError(f'model.backbone.patch_size={patch_size!r} must be a whole number of '
                             'pixels, at least 1')
        size = tuple(img_size) if isinstance(img_size, (list, tuple)) else (img_size, img_size)
        if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
            raise InputError(f'model.backbone.img_size={img_size!r} must be one whole number of '
                             'pixels for a square, or (height, width)')
        self.grid = patch_grid(*size, patch_size)
        self.patch_size = patch_size
        # Not all of mmpretrain's classes take these, but all pass on the settings of their parts.
        kwargs['patch_cfg'] = {'in_channels': in_channels, **kwargs.get('patch_cfg', {})}
        if layer_scale_init_value:
            kwargs['layer_cfgs'] = {'layer_scale_init_value': layer_scale_init_value,
                                    **kwargs.get('layer_cfgs', {})}
        super().__init__(img_size=img_size, patch_size=patch_size, **kwargs)
        use_fast_blocks(self.layers)
        if with_cp:
            enable_recompute(self.layers)
        if type(frozen_stages) is not int or not 0 <= frozen_stages < len(self.layers):
            raise InputError(f'model.backbone.frozen_stages={frozen_stages!r} must be a whole '
                             f'number of blocks, fewer than the {len(self.layers)} there are')
        self.frozen_stages = frozen_stages  # not all of mmpretrain's classes take it
        if frozen_stages:
            self._freeze_stages()

    @property
    def in_channels(self) -> int:
        """Number of channels of the crops."""
        return self.patch_embed.projection.in_channels

    def enter_blocks(self, tokens: Tensor, ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Prepare embedded tokens for the blocks: positions, then [CLS] and registers before them.

        Args:
            tokens: Patches or mask tokens, ``(B, n, D)``.
            ids: Where they are in the grid, ``(B, n)``.

        Returns:
            ``(B, num_prefix_tokens + n, D)``, and what blocks take besides, see :meth:`rotation`.
            :meth:`without_registers` is for their output.
        """
        cls_token = self.cls_token
        if self.pos_embed is not None:
            tokens = tokens + F.embedding(ids + 1, self.pos_embed[0])
            cls_token = cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.pre_norm(self.drop_after_pos(tokens)), self.rotation(self.grid, ids)

    def forward(self, images: Tensor, mask: None = None) -> tuple[Tensor, ...]:
        """Encode whole images, nothing masked.

        Args:
            images: ``(B, C, H, W)``.
            mask: Always None, for mmpretrain's signature.

        Returns:
            Outputs by ``out_type`` and ``out_indices``; by default one tensor of all tokens,
            ``(B, 1 + N, D)``.
        """
        return super().forward(images)


def embed_patches(projection: nn.Conv2d, patches: Tensor) -> Tensor:
    """Embed patches with the convolution of a patch embedding, as one matrix product.

    Args:
        projection: Convolution with the patch as kernel and stride.
        patches: Pixels, each patch a vector of (row, column, channel), ``(B, n, P * P * C)``.

    Returns:
        ``(B, n, D)``.
    """
    weight = projection.weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(patches, weight, projection.bias)


def is_pretrained(module: BaseModule) -> bool:
    """Tell whether ``init_weights`` loads a checkpoint, so that nothing else may be initialised."""
    return isinstance(module.init_cfg, dict) and module.init_cfg.get('type') == 'Pretrained'


def fill_in_sizes(part: str, cfg: dict, **sizes) -> dict:
    """Fill in the sizes that follow from the backbone.

    Args:
        part: Such as ``'neck'`` or ``'head'``, for messages.
        cfg: Its config.
        **sizes: Sizes by field of the config.

    Raises:
        InputError: The config has another size.
    """
    for name, size in sizes.items():
        given = cfg.get(name, size)
        if (tuple(given) if isinstance(size, tuple) else given) != size:
            raise InputError(f'model.{part}.{name}={given} contradicts the backbone, '
                             f'which has {size}; set it to {size} or remove it')
    return {**cfg, **sizes}
