"""MAE in 150 lines of torch, as a good engineer writes it for a folder of photographs.

Blocks are timm's. Photographs are decoded once, in the first epoch, and kept at twice the size of
a crop; the rate is a cosine over the minutes themselves, so that no step has to be timed.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from PIL import Image
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from lab.race.entry import Entry, Photographs, normalised, parse_entry
from lab.race.record import Record
from lab.race.terms import (
    BATCH,
    BETAS,
    BLOCKS,
    DECODER_BLOCKS,
    DECODER_HEADS,
    DECODER_WIDTH,
    HEADS,
    MASK_RATIO,
    MLP_RATIO,
    PATCH,
    PIXELS,
    RATE,
    WEIGHT_DECAY,
    WIDTH,
)

_WARM_UP = 0.1  # share of the training


class PlainMAE(nn.Module):
    """Masked autoencoder (He et al., CVPR 2022), with the loss on normalised patches."""

    def __init__(self) -> None:
        super().__init__()
        grid = PIXELS // PATCH
        self.embed = nn.Linear(3 * PATCH**2, WIDTH)
        self.cls = nn.Parameter(torch.randn(WIDTH) * .02)
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS, MLP_RATIO, qkv_bias=True)
                                      for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.narrow = nn.Linear(WIDTH, DECODER_WIDTH)
        self.mask = nn.Parameter(torch.randn(DECODER_WIDTH) * .02)
        self.decoder = nn.Sequential(
            *(Block(DECODER_WIDTH, DECODER_HEADS, MLP_RATIO, qkv_bias=True)
              for _ in range(DECODER_BLOCKS)),
            nn.LayerNorm(DECODER_WIDTH), nn.Linear(DECODER_WIDTH, 3 * PATCH**2))
        for name, width in (('places', WIDTH), ('decoder_places', DECODER_WIDTH)):
            self.register_buffer(name, build_sincos2d_pos_embed([grid, grid], width))  # (N, D)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def encode(self, patches: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return ``(B, 1 + V, D)`` of patches ``(B, N, P)``, of which ``seen`` ``(B, V)`` stay."""
        tokens = self.embed(patches) + self.places  # (B, N, D)
        if seen is not None:
            tokens = tokens.gather(1, seen[..., None].expand(-1, -1, WIDTH))
        return self.norm(self.blocks(torch.cat([self.cls.expand(len(tokens), 1, -1), tokens], 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the loss of images ``(B, 3, H, W)``."""
        patches = patchify(images)  # (B, N, P)
        order = torch.rand(patches.shape[:2]).argsort(dim=1)  # (B, N)
        seen = order[:, :round(order.shape[1] * (1 - MASK_RATIO))]
        hidden = order[:, seen.shape[1]:]
        latent = self.narrow(self.encode(patches, seen))  # (B, 1 + V, d)
        whole = self.mask.expand(*patches.shape[:2], -1).scatter(
            1, seen[..., None].expand(-1, -1, DECODER_WIDTH), latent[:, 1:])
        whole = torch.cat([latent[:, :1], whole + self.decoder_places], dim=1)
        predicted = self.decoder(whole)[:, 1:]
        rows = hidden[..., None].expand(-1, -1, patches.shape[2])
        # The target has mean 0 and variance 1 in each patch.
        target = F.layer_norm(patches.gather(1, rows), patches.shape[2:], eps=1e-6)
        return F.mse_loss(predicted.gather(1, rows), target)


def patchify(images: Tensor) -> Tensor:
    """Cut images ``(B, 3, H, W)`` into ``(B, N, 3 P P)``, row by row."""
    return F.unfold(images, PATCH, stride=PATCH).mT


class Cached(Dataset):
    """Crops of photographs that are decoded once, at a short side of twice the crop's."""

    def __init__(self, entry: Entry) -> None:
        self.photographs = Photographs(
            entry.folder, entry.train, v2.Resize(2 * PIXELS, v2.InterpolationMode.BICUBIC))
        self.kept: dict[int, Image.Image] = {}
        self.crop = v2.Compose([
            v2.RandomResizedCrop(PIXELS, (0.2, 1), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(), *normalised()])

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> Tensor:
        if index not in self.kept:
            self.kept[index] = self.photographs[index]
        return self.crop(self.kept[index])


def rate(progress: float) -> float:
    """Share of the rate after a share of the training: linear warm-up, then cosine to 0."""
    done = (progress - _WARM_UP) / (1 - _WARM_UP)
    return progress / _WARM_UP if done < 0 else (1 + math.cos(math.pi * done)) / 2


def main() -> None:
    """Train."""
    entry, _ = parse_entry()
    torch.manual_seed(entry.seed)
    model = PlainMAE()
    optimizer = torch.optim.AdamW(
        [dict(params=[p for p in model.parameters() if (p.ndim > 1) == decayed],
              weight_decay=WEIGHT_DECAY * decayed) for decayed in (True, False)],
        betas=BETAS, fused=True)
    loader = DataLoader(Cached(entry), BATCH, shuffle=True, drop_last=True)
    record = Record(entry, model, lambda images: model.encode(patchify(images))[:, 1:])
    record.begin()
    for images in itertools.chain.from_iterable(itertools.repeat(loader)):
        progress = record.watch.seconds / entry.seconds
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group['lr'] = RATE * rate(progress)
        model(images).backward()
        optimizer.step()
        optimizer.zero_grad()
        record.step()
    record.end(BATCH, ['torch', 'timm'])


if __name__ == '__main__':
    main()
