"""iBOT and DINO: a student that sees masked crops learns what its teacher says of whole ones."""

from __future__ import annotations

import copy

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.masking import CropMasking, TokenMask, patch_grid
from amt_mm.registry import MODELS, TASK_UTILS
from amt_mm.saliency import AttentionTap

from .distillation_loss import Center, crop_loss, patch_loss
from .host import HostViT, follow_backbone


@MODELS.register_module()
class IBOTViT(HostViT, VisionTransformer):
    """Vision transformer that sees one learnt vector where a token is masked.

    Args:
        img_size: Height and width of the global crops in pixels. Positions of crops
            of other sizes are interpolated, bicubically.
        patch_size: Side of a patch in pixels. Defaults to 16.
        **kwargs: See :class:`mmpretrain.models.VisionTransformer`.

    Raises:
        InputError: The patch does not divide the image.
    """

    def __init__(self, img_size: int | tuple[int, int] = 224, patch_size: int = 16,
                 **kwargs) -> None:
        super().__init__(img_size=img_size, patch_size=patch_size,
                         **{'out_type': 'raw', **kwargs})
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def init_weights(self) -> None:
        """Initialise as DINO and iBOT do: truncated normal of deviation .02, zero biases."""
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained':
            return
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    def encode(self, images: Tensor, mask: TokenMask | None = None) -> Tensor:
        """Encode crops of one size.

        The masked tokens become the mask vector before [CLS] is put in front and
        positions are added (iBOT, sec. 3.1).

        Args:
            images: ``(B, C, H, W)``.
            mask: What is masked. Defaults to nothing.

        Returns:
            [CLS] and all tokens, ``(B, 1 + N, D)``.
        """
        tokens, grid = self.patch_embed(images)
        if mask is not None:
            tokens = torch.where(mask.states().unsqueeze(-1), self.mask_token.to(tokens.dtype),
                                 tokens)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + resize_pos_embed(self.pos_embed, self.patch_resolution, grid,
                                           mode='bicubic', num_extra_tokens=1)
        tokens = self.pre_norm(self.drop_after_pos(tokens))
        for layer in self.layers:
            tokens = layer(tokens)
        return self.ln1(tokens) if self.final_norm else tokens


@MODELS.register_module()
class IBOT(BaseSelfSupervisor):
    """iBOT (Zhou et al., ICLR 2022), with AttMask's masks (ECCV 2022) on request.

    The teacher sees the global crops whole; the student sees them masked, and the
    local ones whole. [CLS] of each student crop learns that of the other global
    crops, masked tokens learn what the teacher says of them. The teacher follows
    the student by :class:`~amt_mm.hooks.TeacherUpdateHook`.

    Without patch loss this is DINO (Caron et al., ICCV 2021), to which AttMask
    applies as well.

    Args:
        backbone: Config of :class:`IBOTViT`. Its ``drop_path_rate`` is the student's
            alone.
        head: Config of :class:`~amt_mm.models.DistillationHead`; ``in_channels``
            follows the backbone where absent.
        masking: :class:`~amt_mm.masking.CropMasking` or its config (registry
            ``TASK_UTILS``); None masks nothing.
        num_global: Global crops of an image, the first views. Defaults to 2.
        cls_weight: Weight of the [CLS] loss. Defaults to 1, iBOT's.
        patch_weight: Weight of the patch loss. Defaults to 1, iBOT's.
        student_temperature: Defaults to .1.
        teacher_temperature: Defaults to .04; a schedule is
            :class:`~amt_mm.hooks.TeacherTemperatureHook`'s affair. A buffer, so that the
            record of a step holds it; not in checkpoints, where it would win over the
            config.
        center_momentum: Share of the old centers in the new. Defaults to .9.
        **kwargs: See :class:`mmpretrain.models.selfsup.base.BaseSelfSupervisor`.

    Raises:
        InputError: A patch loss without masks, or sizes that contradict the backbone.
    """

    def __init__(self, backbone: dict, head: dict, masking: CropMasking | dict | None = None,
                 num_global: int = 2, cls_weight: float = 1.0, patch_weight: float = 1.0,
                 student_temperature: float = 0.1, teacher_temperature: float = 0.04,
                 center_momentum: float = 0.9, **kwargs) -> None:
        if patch_weight and masking is None:
            raise InputError('model.masking is None, so no token has a patch loss: set '
                             'model.patch_weight=0 (DINO) or a masking')
        student = MODELS.build(copy.deepcopy(backbone))
        head = follow_backbone('head', head, in_channels=student.embed_dims)
        super().__init__(backbone=student, head=MODELS.build(copy.deepcopy(head)), **kwargs)
        self.teacher = nn.ModuleDict({
            'backbone': MODELS.build({**copy.deepcopy(backbone), 'drop_path_rate': 0.0}),
            'head': MODELS.build(copy.deepcopy(head))}).requires_grad_(False)
        self.masking = TASK_UTILS.build(masking) if isinstance(masking, dict) else masking
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
        """Initialise the student; the teacher begins as its copy."""
        super().init_weights()
        self.teacher.backbone.load_state_dict(self.backbone.state_dict())
        self.teacher.head.load_state_dict(self.head.state_dict())

    def train(self, mode: bool = True) -> IBOT:
        """Training mode is the student's: the teacher knows no dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, inputs: list[Tensor], data_samples: list | None = None) -> dict[str, Tensor]:
        """Both losses of a batch.

        Args:
            inputs: Views, global ones first: each ``(B, C, H, W)``; views after the
                global ones may be of other sizes.
            data_samples: Not used.

        Returns:
            ``loss_cls`` and, with a ``patch_weight``, ``loss_patch``, weighted.
        """
        whole = torch.cat(inputs[:self.num_global])  # (G B, C, H, W)
        taught, mask = self.teach(whole)
        learnt = self.backbone.encode(whole, mask)  # (G B, 1 + N, D)
        local = [self.backbone.encode(views)[:, 0]
                 for views in by_size(inputs[self.num_global:])]
        return self.compare(taught, learnt, local, mask)

    @torch.no_grad()
    def teach(self, whole: Tensor) -> tuple[Tensor, TokenMask | None]:
        """The teacher's pass.

        Args:
            whole: Global crops, ``(G B, C, H, W)``.

        Returns:
            Its projections of [CLS] and, for the patch loss, of all tokens,
            ``(G B, 1 + N, bottleneck)``; and what the student does not see.
        """
        with AttentionTap(self.teacher.backbone) as tap:
            tokens = self.teacher.backbone.encode(whole)
        mask = self.mask(whole, tap)
        return self.teacher.head.project(tokens if self.patch_weight else tokens[:, :1]), mask

    @torch.no_grad()
    def mask(self, whole: Tensor, tap: AttentionTap) -> TokenMask | None:
        """Which tokens the student does not see.

        Args:
            whole: Global crops, ``(G B, C, H, W)``.
            tap: What listened while the teacher encoded them.
        """
        if self.masking is None:
            return None
        # (G B, heads, N) to (G B, N)
        scores = tap.cls_attention().mean(dim=1) if self.masking.needs_scores else None
        grid = patch_grid(*whole.shape[-2:], self.backbone.patch_size)
        return self.masking(len(whole), grid, scores, whole.device)

    def compare(self, taught: Tensor, learnt: Tensor, local: list[Tensor], mask: TokenMask | None
                ) -> dict[str, Tensor]:
        """Both losses from what teacher and student make of the crops; the centers move.

        Args:
            taught: The teacher's projections, see :meth:`teach`.
            learnt: The student's tokens of the same crops, masked, ``(G B, 1 + N, D)``.
            local: The student's [CLS] of local crops, ``(L B, D)`` for each size.
            mask: What was masked.

        Returns:
            See :meth:`loss`.
        """
        parts = [learnt[:, 0], *local]
        num_cls = sum(map(len, parts))
        if self.patch_weight:
            parts.append(mask.take(learnt[:, 1:]))
        logits = self.head(torch.cat(parts))

        cls_logits = self.teacher.head.last_layer(taught[:, 0])  # (G B, K)
        targets = self.cls_center.sharpen(cls_logits, self.teacher_temperature)
        batch = len(learnt) // self.num_global
        losses = {'loss_cls': self.cls_weight * crop_loss(
            targets.unflatten(0, (self.num_global, batch)),
            list(logits[:num_cls].split(batch)), self.student_temperature)}
        self.cls_center.update(cls_logits.mean(dim=0))
        if self.patch_weight:
            patch_logits = self.teacher.head.last_layer(mask.take(taught[:, 1:]))
            targets = self.patch_center.sharpen(patch_logits, self.teacher_temperature)
            losses['loss_patch'] = self.patch_weight * patch_loss(
                targets, logits[num_cls:], mask.weights(), self.student_temperature)
            # The last layer is linear: the mean of all logits without making them all.
            mean = taught[:, 1:].flatten(0, 1).mean(dim=0)
            self.patch_center.update(self.teacher.head.last_layer(mean))
        return losses


def by_size(views: list[Tensor]) -> list[Tensor]:
    """Views of one size after another in one batch each, in their order.

    Args:
        views: Each ``(B, C, H, W)``.
    """
    batches: list[list[Tensor]] = []
    for view in views:
        if batches and batches[-1][0].shape == view.shape:
            batches[-1].append(view)
        else:
            batches.append([view])
    return [torch.cat(batch) for batch in batches]
