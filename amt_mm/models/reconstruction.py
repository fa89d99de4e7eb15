"""Reconstructions of MAE, with and without what only the true patches tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amt_mm.masking import MaskPlan, place_tokens, take_tokens, unpatchify

from .mae import AMTMAE


@dataclass(frozen=True)
class Reconstruction:
    """Images with their masked patches as predicted, normalised as the input.

    Attributes:
        own: ``(B, C, H, W)``, from visible patches alone.
        borrowed: The same with the true mean and deviation of each masked patch, as MAE's figures
            show it; None if the decoder predicts pixels, which need nothing.
        errors: Mean squared errors to normalised patches and to pixels, if they decided which of
            them the decoder predicts; None if the model says so.
    """

    own: Tensor
    borrowed: Tensor | None
    errors: tuple[float, float] | None


@torch.no_grad()
def reconstruct(model: AMTMAE, inputs: Tensor, plan: MaskPlan) -> Reconstruction:
    """Predict the masked patches of images.

    Args:
        model: MAE; with ``head.norm_pix`` None, its targets are taken to be those that its
            predictions are closer to.
        inputs: Normalised images, ``(B, C, H, W)``.
        plan: The plan of the batch.
    """
    patches = model.patchify(inputs)  # (B, N, P * P * C)
    predicted = model.predict(model.backbone.encode(patches, plan), plan)
    target = take_tokens(patches, plan.masked)  # (B, n_masked, P * P * C), as `predicted`
    var, mean = torch.var_mean(target, dim=-1, keepdim=True)
    deviation = (var + 1e-6).sqrt()
    norm_pix, errors = model.head.norm_pix, None
    if norm_pix is None:
        errors = tuple(float((predicted - wanted).square().mean())
                       for wanted in ((target - mean) / deviation, target))
        norm_pix = errors[0] < errors[1]

    def picture(pixels: Tensor) -> Tensor:
        return unpatchify(place_tokens(pixels, plan.masked, patches), plan.grid,
                          model.backbone.patch_size)

    if not norm_pix:
        return Reconstruction(picture(predicted), None, errors)
    own_mean, own_deviation = statistics_around(patches, plan)
    return Reconstruction(picture(predicted * own_deviation + own_mean),
                          picture(predicted * deviation + mean), errors)


def statistics_around(patches: Tensor, plan: MaskPlan) -> tuple[Tensor, Tensor]:
    """Estimate mean and deviation of the masked patches from the visible ones.

    Each is the average over the visible patches, weighted by the inverse squared distance (Shepard,
    "A two-dimensional interpolation function for irregularly-spaced data", 1968).

    Args:
        patches: ``(B, N, P * P * C)``.
        plan: The plan of the batch.

    Returns:
        Means and standard deviations, ``(B, n_masked, 1)`` each.
    """
    def places(ids: Tensor) -> Tensor:
        return torch.stack([ids // plan.grid[1], ids % plan.grid[1]], dim=-1).to(patches)

    near = torch.cdist(places(plan.masked), places(plan.visible))**-2  # (B, n_masked, n_visible)
    near = near / near.sum(dim=-1, keepdim=True)
    var, mean = torch.var_mean(take_tokens(patches, plan.visible), dim=-1, keepdim=True)
    return near @ mean, near @ var.sqrt()
