"""Carry labels of patches from frames of a video to the next one, by the likeness of patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def near_patches(grid: tuple[int, int], radius: int) -> Tensor:
    """Return which patches lie close to each other, ``(N, N)`` bool.

    Args:
        grid: Rows h and columns w of patches, N = h w.
        radius: Largest distance in rows and in columns.
    """
    rows, columns = (torch.arange(length) for length in grid)
    apart = [(axis[:, None] - axis).abs() <= radius for axis in (rows, columns)]
    return torch.einsum('ik,jl->ijkl', *apart).reshape(len(rows) * len(columns), -1)


def propagate(target: Tensor, sources: Tensor, labels: Tensor, near: Tensor, neighbours: int = 5,
              temperature: float = .1) -> Tensor:
    """Average the labels of the most similar patches that are near.

    As the evaluation of DINO (Caron et al., ICCV 2021) does, after Jabri et al. (NeurIPS 2020):
    of the patches of all source frames, the nearest by cosine, weighted by
    ``exp(cosine / temperature)``.

    Args:
        target: Features of the new frame, ``(N, D)``, of length 1.
        sources: Those of T earlier frames, ``(T, N, D)``, of length 1.
        labels: Shares of C labels in each of their patches, ``(T, N, C)``.
        near: From :func:`near_patches`: a patch looks at these alone.
        neighbours: Patches that count. Defaults to 5, as DINO's.
        temperature: Defaults to DINO's.

    Returns:
        Shares of the labels in the patches of the new frame, ``(N, C)``.
    """
    cosines = torch.einsum('nd,tmd->ntm', target, sources)
    cosines = cosines.masked_fill(~near[:, None], -torch.inf).flatten(1)  # (N, T N)
    best, places = cosines.topk(min(neighbours, cosines.shape[1]), dim=1)  # (N, k)
    weights = (best / temperature).softmax(dim=1)
    return torch.einsum('nk,nkc->nc', weights, labels.flatten(0, 1)[places])


def patch_labels(mask: Tensor, labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return 1 for the label at the centre of each patch, else 0.

    Args:
        mask: ``(H, W)`` integers.
        labels: The labels, ``(C,)``; background first.
        grid: Rows h and columns w of patches, N = h w.

    Returns:
        ``(N, C)`` float; other labels of the mask are background.
    """
    small = F.interpolate(mask[None, None].float(), grid, mode='nearest-exact').flatten()  # (N,)
    marks = (small[:, None] == labels).float()
    marks[:, 0] = 1 - marks[:, 1:].sum(dim=1)
    return marks


def pixel_labels(shares: Tensor, grid: tuple[int, int], size: tuple[int, int],
                 original: tuple[int, int]) -> Tensor:
    """Return the label of each pixel.

    Shares are upsampled bilinearly to the size of the encoder's image, each label is stretched to
    0 to 1, the largest wins, and the result goes to the frame's own size by the nearest pixel.

    Args:
        shares: From :func:`propagate`, ``(N, C)``.
        grid: Rows h and columns w of patches.
        size: Height and width of the encoder's image.
        original: Height H and width W of the frame.

    Returns:
        ``(H, W)`` int64, 0 to C - 1.
    """
    maps = F.interpolate(shares.T.unflatten(1, grid)[None], size, mode='bilinear')[0]  # (C, ., .)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    # A label that is everywhere or nowhere has nothing to be stretched.
    maps = torch.where(high > low, (maps - low) / (high - low), maps)
    found = maps.argmax(dim=0)[None, None].float()
    return F.interpolate(found, original, mode='nearest-exact')[0, 0].long()
