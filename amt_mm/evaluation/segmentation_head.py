"""The linear head of semantic segmentation, trained on cached patch tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from amt_mm.datasets.load_mask import IGNORED

# Share of the iterations in which the learning rate rises: 1,500 of DINOv2's 40,000.
_WARMUP = 0.0375


class SegmentationHead(nn.Module):
    """Batch norm of the patch tokens, then one linear classifier for all of them.

    The linear head of DINOv2 (Oquab et al., 2023, section 7.4; ``BNHead`` of its code): class
    scores of patches, which are upsampled to pixels.

    Args:
        width: Width of the tokens, D.
        num_classes: Number of classes, C.
        grid: Rows h and columns w of patches.
        seed: Seed of the initial weights. Defaults to 0.
    """

    def __init__(self, width: int, num_classes: int, grid: tuple[int, int], seed: int = 0
                 ) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.BatchNorm1d(width)
        self.classify = nn.Linear(width, num_classes)
        # As mmsegmentation's heads, of which DINOv2's is one.
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.classify.weight, std=.01, generator=generator)
        nn.init.zeros_(self.classify.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits ``(B, C, h, w)`` of patch tokens ``(B, h w, D)``."""
        logits = self.classify(self.norm(tokens.flatten(0, 1)))  # (B h w, C)
        return logits.view(len(tokens), *self.grid, -1).permute(0, 3, 1, 2)


def train_segmentation(tokens: Tensor, masks: Tensor, num_classes: int, grid: tuple[int, int],
                       iterations: int, batch_size: int = 16, lr: float = 1e-3,
                       weight_decay: float = 1e-4, seed: int = 0,
                       device: torch.device | str = 'cpu', progress: str | None = None
                       ) -> SegmentationHead:
    """Train a head by cross-entropy on all labelled pixels, to which logits are upsampled.

    AdamW; the learning rate rises over the first 3.75 % of the iterations and falls linearly to 0,
    as DINOv2's.

    Args:
        tokens: ``(n, h w, D)`` of any floating type, on the CPU.
        masks: ``(n, H, W)`` uint8, on the CPU; 255 is ignored.
        num_classes: C.
        grid: Rows h and columns w of patches.
        iterations: Batches.
        batch_size: Images in a batch; not more than n are taken. Defaults to 16, as DINOv2's.
        lr: Peak learning rate. Defaults to DINOv2's.
        weight_decay: Defaults to DINOv2's.
        seed: Determines initial weights and batches.
        device: Where to train.
        progress: Title of a progress bar. Defaults to None: no bar.

    Returns:
        The head, in evaluation mode.
    """
    head = SegmentationHead(tokens.shape[-1], num_classes, grid, seed).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=weight_decay)
    rising = max(1, round(_WARMUP * iterations))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(
        (step + 1) / rising, (iterations - step) / max(1, iterations - rising)))
    generator, order = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    batch_size = min(batch_size, len(tokens))
    with torch.enable_grad():
        for _ in tqdm(range(iterations), progress, leave=False,
                      disable=None if progress else True):
            if len(order) < batch_size:
                order = torch.randperm(len(tokens), generator=generator)
            # Ascending, as a file is read fastest.
            rows, order = order[:batch_size].sort().values, order[batch_size:]
            logits = F.interpolate(head(tokens[rows].to(device).float()), masks.shape[1:],
                                   mode='bilinear', align_corners=False)  # (B, C, H, W)
            labels = masks[rows].to(device).long()  # (B, H, W)
            # Not `mean`, which is NaN where a batch has no labelled pixel.
            loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction='sum')
            loss = loss / (labels != IGNORED).sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head.eval()
