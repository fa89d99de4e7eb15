"""AMT without OpenMMLab: a small MAE loop in plain torch that masks by its own attention.

`amt_mm.masking` and `amt_mm.saliency` need torch and numpy alone. The transformer below has
the names of timm's (`patch_embed`, `cls_token`, `pos_embed`, `blocks`, `norm`), which are all
that saliency needs to know. Six epochs on generated images show how the parts fit together;
what [CLS] looks at after so few need not be the object. It takes a few seconds on a CPU:

    python examples/timm_style.py
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.masking import AMTMaskGenerator, MaskPlan, patchify, take_tokens
from amt_mm.saliency import cls_saliency, entropy, resample

SIZE, PATCH, WIDTH, HEADS = (48, 64), 8, 48, 3
GRID = SIZE[0] // PATCH, SIZE[1] // PATCH


class Attention(nn.Module):
    """Self-attention with one `qkv` projection, as timm writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, n, D) to (B, n, D)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(),
                                 nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, n, D) to (B, n, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ViT(nn.Module):
    """Patches embedded by a linear layer, [CLS] first, learnt positions."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(PATCH * PATCH * 3, WIDTH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + GRID[0] * GRID[1], WIDTH) * 0.02)
        self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Encode whole images: what saliency runs."""
        patches = patchify(images, PATCH)
        every = torch.arange(patches.shape[1], device=images.device).expand(len(images), -1)
        return self.encode(patches, every)

    def encode(self, patches: Tensor, ids: Tensor) -> Tensor:
        """Encode the patches named by `ids`, all others unseen: (B, 1 + n, D)."""
        tokens = self.patch_embed(take_tokens(patches, ids))
        tokens = tokens + F.embedding(ids + 1, self.pos_embed[0])
        cls_token = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        return self.norm(self.blocks(torch.cat([cls_token, tokens], dim=1)))


class Decoder(nn.Module):
    """One block over visible tokens and mask tokens, then pixels of the masked ones."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + GRID[0] * GRID[1], WIDTH) * 0.02)
        self.block, self.norm = Block(), nn.LayerNorm(WIDTH)
        self.pixels = nn.Linear(WIDTH, PATCH * PATCH * 3)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """(B, n_masked, P * P * C), in the order of `plan.masked`."""
        masked = self.mask_token.expand(*plan.masked.shape, -1)
        ids = torch.cat([torch.zeros_like(plan.masked[:, :1]), plan.visible + 1,
                         plan.masked + 1], dim=1)  # thrown tokens stand nowhere
        tokens = torch.cat([latent, masked], dim=1) + F.embedding(ids, self.pos_embed[0])
        return self.pixels(self.norm(self.block(tokens))[:, -plan.masked.shape[1]:])


def paint(count: int, height: int = 72, width: int = 96) -> tuple[Tensor, Tensor]:
    """Images of a chequered square on a smooth ground, and where the square is.

    Returns:
        ``(count, 3, height, width)`` and ``(count, height, width)``, 1 on the square.
    """
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    ground = torch.rand(count, 3, 1, 1) + torch.linspace(-1, 1, width)
    images, objects = ground.expand(-1, -1, height, -1).clone(), torch.zeros(count, height, width)
    board = ((rows // 3 + columns // 3) % 2 * 2 - 1).float()
    for index in range(count):
        top, left = int(torch.randint(height - 28, ())), int(torch.randint(width - 28, ()))
        place = (slice(top, top + 28), slice(left, left + 28))
        images[index, :, place[0], place[1]] = board[place] * torch.rand(3, 1, 1)
        objects[index, place[0], place[1]] = 1
    return images, objects


def crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut a relative box (x0, y0, x1, y1) out of each image and resize it; x0 > x1 flips."""
    scale, shift = boxes[:, 2:] - boxes[:, :2], boxes[:, 2:] + boxes[:, :2] - 1
    theta = torch.cat([torch.diag_embed(scale), shift[:, :, None]], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(theta, [len(images), images.shape[1], *SIZE], align_corners=False)
    return F.grid_sample(images, grid, padding_mode='border', align_corners=False)


def draw_boxes(count: int) -> Tensor:
    """Crops of .6 to 1 of each side, half of them flipped, ``(count, 4)``."""
    size = 0.6 + 0.4 * torch.rand(count, 2)
    start = torch.rand(count, 2) * (1 - size)
    boxes = torch.cat([start, start + size], dim=1)
    return torch.where(torch.rand(count, 1) < 0.5, boxes[:, [2, 1, 0, 3]], boxes)


def main(argv: list[str] | None = None) -> None:
    """Train by chance, look where [CLS] looks, train on by that."""
    parser = argparse.ArgumentParser(description='AMT in plain torch')
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--warmup', type=int, default=2, help='epochs of random masks')
    parser.add_argument('--refresh', type=int, default=2, help='epochs between new maps')
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    images, objects = paint(128)
    encoder, decoder = ViT(), Decoder()
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
    generator = AMTMaskGenerator(mask_ratio=0.45, throw_ratio=0.40, warmup_mask_ratio=0.75)
    maps = None  # one map a training image; None means random masks

    for epoch in range(args.epochs):
        if epoch >= args.warmup and (epoch - args.warmup) % args.refresh == 0:
            # Whole images, so that one map serves every later crop.
            whole = F.interpolate(images, SIZE, mode='bilinear')
            maps = cls_saliency(encoder, whole).unflatten(1, GRID)  # (128, h, w)
            print(f'epoch {epoch + 1}: new maps, entropy '
                  f'{entropy(maps.flatten(1)).mean():.3f} of uniform')
        losses, hits = [], []
        for index in torch.randperm(len(images)).split(32):
            boxes = draw_boxes(len(index))
            crops = crop(images[index], boxes)
            weights = None if maps is None else resample(maps[index], boxes, GRID)
            plan = generator(len(index), GRID, weights)

            patches = patchify(crops, PATCH)
            pred = decoder(encoder.encode(patches, plan.visible), plan)
            loss = F.mse_loss(pred, take_tokens(patches, plan.masked))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            losses.append(loss.item())
            inside = patchify(crop(objects[index, None], boxes), PATCH).mean(2, keepdim=True)
            hits.append(take_tokens(inside, plan.masked).mean() / inside.mean())
        print(f'epoch {epoch + 1}: {"random" if maps is None else "guided"} masks, '
              f'{plan.masked.shape[1]} masked, {plan.thrown.shape[1]} thrown, '
              f'{plan.visible.shape[1]} visible, loss {sum(losses) / len(losses):.4f}, '
              f'masked patches on the object {sum(hits) / len(hits):.2f} of chance')


if __name__ == '__main__':
    main()
