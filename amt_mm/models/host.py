"""What a masked image modelling method must give to be masked and thrown by a plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan, patch_grid, patchify, place_tokens, take_tokens, unpatchify

from .blocks import lean_blocks
from .recompute import recompute


class Host(BaseSelfSupervisor):
    """A method that predicts masked tokens from visible ones, as a plan says.

    A host gives three things, and everything else here follows: its ``backbone``
    encodes by a plan (``encode(patches, plan)``), :meth:`predict` turns the
    encoder's tokens into predictions of the masked ones, and :meth:`target` says
    what they should be. Thrown tokens must enter none of the three. How to add
    one: ``docs/add_a_host.md``.

    The ``backbone`` must also have ``grid`` (rows and columns of patches),
    ``patch_size`` in pixels, and a forward on images alone in which every token
    is visible, for saliency and for features.

    Args:
        *args: See :class:`mmpretrain.models.selfsup.base.BaseSelfSupervisor`.
        **kwargs: See there.

    Attributes:
        report_token_losses: Whether :meth:`loss` also tells the loss of each
            token. Set by :class:`~amt_mm.guidance.TokenLossHook`; False by default.
        loss_weights: Name of a loss -> its weight; 1 for those that are not named.
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
            tokens: What ``backbone.encode`` gave.
            plan: Which token is which.

        Returns:
            ``(B, n_masked, D)`` in the order of ``plan.masked``.
        """

    def predictions(self, tokens: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Predict the masked tokens in as many ways as the method has; by default in one.

        Args:
            tokens: What ``backbone.encode`` gave.
            plan: Which token is which.

        Returns:
            Name of the loss -> prediction as of :meth:`predict`, which is ``'loss'``. All names
            have "loss" in them: MMEngine minimises the sum of those, and logs each by itself,
            so that ``loss`` in a log is that of :meth:`predict` alone.
        """
        return {'loss': self.predict(tokens, plan)}

    def target(self, inputs: Tensor, patches: Tensor, plan: MaskPlan) -> Tensor:
        """What the masked tokens should be; by default their pixels.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            patches: The same in patches, ``(B, N, P * P * C)``.
            plan: Which token is which.

        Returns:
            ``(B, n_masked, D)`` in the order of ``plan.masked``.
        """
        return take_tokens(patches, plan.masked)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor',
                plan: MaskPlan | None = None) -> dict | tuple:
        """Entry of MMEngine; see :meth:`loss` (mode 'loss') and :meth:`extract_feat` ('tensor')."""
        if mode == 'loss':
            return self.loss(inputs, data_samples, plan)
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list | None, plan: MaskPlan) -> dict:
        """Loss of the masked tokens.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            data_samples: Not used.
            plan: Which token is which.

        Returns:
            A scalar for each of :meth:`predictions` and, with ``report_token_losses``,
            ``per_token``: :meth:`token_losses` of ``loss``. Its key has no "loss" in it, so
            MMEngine, which sums all that have, leaves it out of the loss.
        """
        if plan is None:
            raise InputError('the batch has no mask plan: it is made by '
                             "data_preprocessor.type='amt_mm.AMTDataPreprocessor'")
        return self.losses(inputs, plan)

    def losses(self, inputs: Tensor, plan: MaskPlan) -> dict:
        """What :meth:`loss` returns; tensors in, tensors out, so that it compiles."""
        patches = self.patchify(inputs)
        predictions = self.predictions(self.backbone.encode(patches, plan), plan)
        target = self.target(inputs, patches, plan)
        losses = {name: self.head.loss(pred, target) * self.loss_weights.get(name, 1.)
                  for name, pred in predictions.items()}
        if self.report_token_losses:
            losses['per_token'] = self.token_losses(predictions['loss'], target)
        return losses

    @torch.no_grad()
    def token_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of each masked token: what the head says of this token alone.

        For heads whose loss is the mean over tokens of what it is of one; others
        override this.

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
        """Images with the masked patches as predicted, all others as they are.

        For hosts that predict pixels.

        Args:
            inputs: Normalised crops, ``(B, C, H, W)``.
            plan: Which token is which.

        Returns:
            ``(B, C, H, W)``, still normalised as ``inputs``.
        """
        patches = self.patchify(inputs)
        pred = self.predict(self.backbone.encode(patches, plan), plan)
        pred = self.head.denormalize_patches(pred, take_tokens(patches, plan.masked))
        patches = place_tokens(pred.to(patches.dtype), plan.masked, patches)
        return unpatchify(patches, plan.grid, self.backbone.patch_size)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of whole images, nothing masked; see the backbone's forward."""
        return self.backbone(inputs)

    def patchify(self, inputs: Tensor) -> Tensor:
        """Cut crops into patches of the backbone's grid, ``(B, N, P * P * C)``.

        Raises:
            InputError: The crops are of another size than the backbone was made for.
        """
        grid = patch_grid(*inputs.shape[-2:], self.backbone.patch_size)
        if grid != self.backbone.grid:
            raise InputError(
                f'the images have {grid[0]}x{grid[1]} patches, the model was made for '
                f'{self.backbone.grid[0]}x{self.backbone.grid[1]}: set model.backbone.img_size '
                'to the size of the crops')
        return patchify(inputs, self.backbone.patch_size)


class HostViT:
    """What the encoders of hosts share; stands before mmpretrain's class among the bases.

    Args:
        img_size: Height and width of the crops in pixels, one number for a square.
        patch_size: Side of a patch in pixels.
        with_cp: Gradient checkpointing, see :func:`~amt_mm.models.recompute.recompute`:
            less memory for a fifth to a third more time. Defaults to False.
        **kwargs: Of mmpretrain's class.

    Attributes:
        grid: Rows and columns of patches.
        patch_size: As given.

    Raises:
        InputError: A size that is none, or a patch that does not divide the image.
    """

    def __init__(self, img_size: int | tuple[int, int] = 224, patch_size: int = 16,
                 with_cp: bool = False, **kwargs) -> None:
        if type(patch_size) is not int or patch_size < 1:
            raise InputError(f'model.backbone.patch_size={patch_size!r} must be a whole number of '
                             'pixels, at least 1')
        size = tuple(img_size) if isinstance(img_size, (list, tuple)) else (img_size, img_size)
        if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
            raise InputError(f'model.backbone.img_size={img_size!r} must be one whole number of '
                             'pixels for a square, or (height, width)')
        self.grid = patch_grid(*size, patch_size)
        self.patch_size = patch_size
        super().__init__(img_size=img_size, patch_size=patch_size, **kwargs)
        lean_blocks(self.layers)
        if with_cp:
            recompute(self.layers)

    def forward(self, images: Tensor, mask: None = None) -> tuple[Tensor, ...]:
        """Encode whole images, nothing masked.

        Args:
            images: ``(B, C, H, W)``.
            mask: Always None; named as mmpretrain calls it.

        Returns:
            What ``out_type`` and ``out_indices`` say; by default one tensor of
            all tokens, ``(B, 1 + N, D)``.
        """
        return VisionTransformer.forward(self, images)


def embed_patches(projection: nn.Conv2d, patches: Tensor) -> Tensor:
    """Embed patches by a patch embedding's convolution, as one matrix product.

    Args:
        projection: Convolution whose kernel and stride are the patch.
        patches: Pixels, each patch a vector of (row, column, channel), ``(B, n, P * P * C)``.

    Returns:
        ``(B, n, D)``.
    """
    weight = projection.weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(patches, weight, projection.bias)


def follow_backbone(part: str, cfg: dict, **sizes) -> dict:
    """Fill in the sizes that the backbone decides; refuse others.

    Args:
        part: ``'neck'`` or ``'head'``, for the message.
        cfg: Its config.
        **sizes: Field -> what the backbone says.

    Raises:
        InputError: The config says something else.
    """
    for name, size in sizes.items():
        given = cfg.get(name, size)
        if (tuple(given) if isinstance(size, tuple) else given) != size:
            raise InputError(f'model.{part}.{name}={given} contradicts the backbone, '
                             f'which has {size}: set it to {size} or leave it out')
    return {**cfg, **sizes}
