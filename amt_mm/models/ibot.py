"""iBOT and DINO: a student learns from masked crops what its teacher outputs for whole ones."""

from __future__ import annotations

import copy

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.checks import is_number
from amt_mm.errors import InputError
from amt_mm.masking import CropMasking, TokenMask, patch_grid
from amt_mm.registry import MODELS, TASK_UTILS
from amt_mm.saliency import AttentionTap

from .distillation_loss import Center, crop_loss, patch_loss
from .host import HostViT, fill_in_sizes, is_pretrained


@MODELS.register_module()
class IBOTViT(HostViT, VisionTransformer):
    """Vision transformer with a learned mask token in place of masked tokens.

    Args:
        img_size: Height and width of the global crops in pixels. For crops of other sizes, position
            embeddings are interpolated bicubically.
        patch_size: Side of a patch in pixels. Defaults to 16.
        interpolate_offset: Added to rows and columns of a crop before the scale of that
            interpolation is computed from them; the result has no more of them. DINO, iBOT and
            AttMask add .1 against rounding, which shifts positions by up to a tenth of a patch, so
            use .1 to continue their weights. Defaults to 0: the scale of the sizes.
        **kwargs: See :class:`mmpretrain.models.VisionTransformer`.

    Raises:
        InputError: The image is not a multiple of the patch, or the offset is out of range.
    """

    # Encoders of other methods have none; the student learns it.
    not_pretrained = ('mask_token',)

    def __init__(self, img_size: int | tuple[int, int] = 224, patch_size: int = 16,
                 interpolate_offset: float = 0.0, **kwargs) -> None:
        if not is_number(interpolate_offset) or not 0 <= interpolate_offset < 1:
            raise InputError(f'model.backbone.interpolate_offset={interpolate_offset!r} must be a '
                             'number, at least 0 and less than 1')
        super().__init__(img_size=img_size, patch_size=patch_size,
                         **{'out_type': 'raw', **kwargs})
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.interpolate_offset = interpolate_offset

    def init_weights(self) -> None:
        """Initialise as DINO and iBOT do: truncated normal (std .02), zero biases."""
        super().init_weights()
        if is_pretrained(self):
            return
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for parameter in (self.cls_token, self.pos_embed):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02)

    def encode(self, images: Tensor, mask: TokenMask | None = None) -> Tensor:
        """Encode crops of one size.

        Masked tokens are replaced by the mask token before [CLS] is prepended and position
        embeddings are added (iBOT, sec. 3.1).

        Args:
            images: ``(B, C, H, W)``.
            mask: Masked tokens. Defaults to None: none.

        Returns:
            [CLS] and all tokens, ``(B, 1 + N, D)``.
        """
        tokens, grid = self.patch_embed(images)
        if mask is not None:
            tokens = torch.where(mask.states().unsqueeze(-1), self.mask_token.to(tokens.dtype),
                                 tokens)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        if self.pos_embed is not None:
            tokens = tokens + self.positions(tuple(grid))
        tokens = self.pre_norm(self.drop_after_pos(tokens))
        rotation = self.rotation(tuple(grid))
        for layer in self.layers:
            tokens = layer(tokens, *rotation)
        return self.without_registers(self.ln1(tokens) if self.final_norm else tokens)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the position embeddings of [CLS] and a grid, ``(1, 1 + rows * columns, D)``."""
        own = tuple(self.patch_resolution)
        if grid == own or not self.interpolate_offset:
            return resize_pos_embed(self.pos_embed, own, grid, 'bicubic', num_extra_tokens=1)
        patches = self.pos_embed[:, 1:].unflatten(1, own).permute(0, 3, 1, 2)  # (1, D, h, w)
        scale = [(side + self.interpolate_offset) / side_of_own
                 for side, side_of_own in zip(grid, own, strict=True)]
        patches = F.interpolate(patches.float(), scale_factor=scale, mode='bicubic')
        return torch.cat([self.pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


@MODELS.register_module()
class IBOT(BaseSelfSupervisor):
    """iBOT (Zhou et al., ICLR 2022), optionally with AttMask's masks (ECCV 2022).

    The teacher encodes whole global crops; the student encodes the same crops masked, and whole
    local ones. [CLS] of each student crop learns that of the other global crops, masked tokens
    learn the teacher's outputs for them. The teacher is updated from the student by
    :class:`~amt_mm.hooks.TeacherUpdateHook`. Without patch loss this is DINO (Caron et al., ICCV
    2021), which can be combined with AttMask as well.

    Args:
        backbone: Config of :class:`IBOTViT`. ``drop_path_rate`` applies to the student only.
        head: Config of :class:`~amt_mm.models.DistillationHead`; ``in_channels`` defaults to the
            backbone's.
        masking: :class:`~amt_mm.masking.CropMasking` or its config (registry ``TASK_UTILS``); None
            masks nothing.
        num_global: Number of global crops per image, which are the first views. Defaults to 2.
        cls_weight: Weight of the [CLS] loss. Defaults to 1, as in iBOT.
        patch_weight: Weight of the patch loss. Defaults to 1, as in iBOT.
        student_temperature: Defaults to .1.
        teacher_temperature: Defaults to .04; :class:`~amt_mm.hooks.TeacherTemperatureHook` sets a
            schedule. A buffer, so that the record of a step contains it; not in checkpoints, where
            it would override the config.
        center_momentum: Share of the old centers in an update. Defaults to .9.
        **kwargs: See :class:`mmpretrain.models.selfsup.base.BaseSelfSupervisor`.

    Raises:
        InputError: There is a patch loss without masks, or sizes contradict the backbone.
    """

    def __init__(self, backbone: dict, head: dict, masking: CropMasking | dict | None = None,
                 num_global: int = 2, cls_weight: float = 1.0, patch_weight: float = 1.0,
                 student_temperature: float = 0.1, teacher_temperature: float = 0.04,
                 center_momentum: float = 0.9, **kwargs) -> None:
        if patch_weight and masking is None:
            raise InputError('model.masking is None, so no token has a patch loss; set '
                             'model.patch_weight=0 (DINO) or model.masking')
        student = MODELS.build(copy.deepcopy(backbone))
        head = fill_in_sizes('head', head, in_channels=student.embed_dims)
        super().__init__(backbone=student, head=MODELS.build(copy.deepcopy(head)), **kwargs)
        self.teacher = nn.ModuleDict({
            'backbone': MODELS.build({**copy.deepcopy(backbone), 'drop_path_rate': 0.0}),
            'head': MODELS.build(copy.deepcopy(head))}).requires_grad_(False)
        self.masking = TASK_UTILS.build(masking) if isinstance(masking, dict) else masking
        if self.masking is None:
            # Several processes wait for the gradient of each trained parameter.
            self.backbone.mask_token.requires_grad_(False)
        self.num_global = num_global
        self.cls_weight = cls_weight
        self.patch_weight = patch_weight
        self.student_temperature = student_temperature
        self.register_buffer('teacher_temperature', torch.tensor(float(teacher_temperature)),
                             persistent=False)
        num_logits = self.head.last_layer.out_features
        self.cls_center = Center(num_logits, center_momentum)
        self.patch_center = Center(num_logits, center_momentum)

    def init_weights(self) -> None:
        """Initialise the student and copy it to the teacher."""
        super().init_weights()
        self.copy_to_teacher()

    def copy_to_teacher(self) -> None:
        """Give the teacher the student's weights, as it has them before the first step."""
        self.teacher.backbone.load_state_dict(self.backbone.state_dict())
        self.teacher.head.load_state_dict(self.head.state_dict())

    def train(self, mode: bool = True) -> IBOT:
        """Set the mode of the student; the teacher stays in evaluation mode, without dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, inputs: list[Tensor], data_samples: list | None = None) -> dict[str, Tensor]:
        """Compute both losses of a batch.

        Args:
            inputs: Views, each ``(B, C, H, W)``, global ones first; local ones may be of other
                sizes.
            data_samples: Not used.

        Returns:
            ``loss_cls`` and, with a ``patch_weight``, ``loss_patch``, weighted.

        Raises:
            InputError: There are fewer views than global crops, or one view, which has no other
                to learn from.
        """
        least = max(2, self.num_global)
        if not isinstance(inputs, list) or len(inputs) < least:
            found = len(inputs) if isinstance(inputs, list) else 1
            raise InputError(f'{type(self).__name__} needs {least} views of an image at least and '
                             f'gets {found}: use MultiView in train_dataloader.dataset.pipeline, '
                             'as configs/attmask does')
        crops = torch.cat(inputs[:self.num_global])  # (G B, C, H, W)
        projections, mask = self.run_teacher(crops)
        tokens = self.backbone.encode(crops, mask)  # (G B, 1 + N, D)
        local = [self.backbone.encode(views)[:, 0]
                 for views in batch_by_size(inputs[self.num_global:])]
        return self.compute_losses(projections, tokens, local, mask)

    @torch.no_grad()
    def run_teacher(self, crops: Tensor) -> tuple[Tensor, TokenMask | None]:
        """Run the teacher on global crops.

        Args:
            crops: ``(G B, C, H, W)``.

        Returns:
            Its projections of [CLS] and, for the patch loss, of all tokens,
            ``(G B, 1 + N, bottleneck)``; and the mask of the student.
        """
        with AttentionTap(self.teacher.backbone) as tap:
            tokens = self.teacher.backbone.encode(crops)
        mask = self.make_mask(crops, tap)
        return self.teacher.head.project(tokens if self.patch_weight else tokens[:, :1]), mask

    @torch.no_grad()
    def make_mask(self, crops: Tensor, tap: AttentionTap) -> TokenMask | None:
        """Make the student's mask of global crops.

        Args:
            crops: ``(G B, C, H, W)``.
            tap: Tap of the teacher's pass on them.
        """
        if self.masking is None:
            return None
        # (G B, heads, N) to (G B, N)
        weights = tap.cls_attention().mean(dim=1) if self.masking.needs_weights else None
        grid = patch_grid(*crops.shape[-2:], self.backbone.patch_size)
        return self.masking(len(crops), grid, weights, crops.device)

    def compute_losses(self, projections: Tensor, tokens: Tensor, local: list[Tensor],
                       mask: TokenMask | None) -> dict[str, Tensor]:
        """Compute both losses from the outputs of teacher and student and update the centers.

        Args:
            projections: The teacher's, see :meth:`run_teacher`.
            tokens: The student's tokens of the same crops, masked, ``(G B, 1 + N, D)``.
            local: The student's [CLS] of local crops, ``(L B, D)`` for each size.
            mask: Mask of the student.

        Returns:
            See :meth:`loss`.
        """
        parts = [tokens[:, 0], *local]
        num_cls = sum(map(len, parts))
        if self.patch_weight:
            parts.append(mask.take(tokens[:, 1:]))
        logits = self.head(torch.cat(parts))

        cls_logits = self.teacher.head.last_layer(projections[:, 0])  # (G B, K)
        targets = self.cls_center.sharpen(cls_logits, self.teacher_temperature)
        batch = len(tokens) // self.num_global
        losses = {'loss_cls': self.cls_weight * crop_loss(
            targets.unflatten(0, (self.num_global, batch)),
            list(logits[:num_cls].split(batch)), self.student_temperature)}
        self.cls_center.update(cls_logits.mean(dim=0))
        if self.patch_weight:
            patch_logits = self.teacher.head.last_layer(mask.take(projections[:, 1:]))
            targets = self.patch_center.sharpen(patch_logits, self.teacher_temperature)
            losses['loss_patch'] = self.patch_weight * patch_loss(
                targets, logits[num_cls:], mask.loss_weights(), self.student_temperature)
            # The last layer is linear: the mean of the logits is the logits of the mean.
            mean = projections[:, 1:].flatten(0, 1).mean(dim=0)
            self.patch_center.update(self.teacher.head.last_layer(mean))
        return losses


def batch_by_size(views: list[Tensor]) -> list[Tensor]:
    """Concatenate consecutive views of the same size, each ``(B, C, H, W)``."""
    batches: list[list[Tensor]] = []
    for view in views:
        if batches and batches[-1][0].shape == view.shape:
            batches[-1].append(view)
        else:
            batches.append([view])
    return [torch.cat(batch) for batch in batches]
