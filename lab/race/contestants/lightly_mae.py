"""lightly's MAE, by its example and, for optimiser and target, its benchmark on ImageNet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from lightly.models import utils
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.modules.masked_vision_transformer_decoder_timm import (
    MaskedVisionTransformerDecoderTIMM,
)
from lightly.transforms import MAETransform
from lightly.utils.scheduler import CosineWarmupScheduler
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lab.race.entry import Entry, Photographs, parse_entry, steps_in, timed
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

_WARM_UP = 0.1  # share of the steps


class LightlyMAE(nn.Module):
    """lightly's modules, put together as its example does."""

    def __init__(self) -> None:
        super().__init__()
        vit = VisionTransformer(PIXELS, PATCH, embed_dim=WIDTH, depth=BLOCKS, num_heads=HEADS,
                                mlp_ratio=MLP_RATIO, num_classes=0)
        self.backbone = MaskedVisionTransformerTIMM(vit=vit)
        self.narrow = nn.Linear(WIDTH, DECODER_WIDTH)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            vit.patch_embed.num_patches, DECODER_WIDTH, DECODER_BLOCKS, DECODER_HEADS,
            mlp_ratio=MLP_RATIO)
        self.predict = nn.Linear(DECODER_WIDTH, 3 * PATCH**2)

    def forward(self, images: Tensor) -> Tensor:
        """Return the loss of images ``(B, 3, H, W)``."""
        size = len(images), self.backbone.sequence_length
        seen, hidden = utils.random_token_mask(size, MASK_RATIO)  # (B, 1 + V), (B, M)
        latent = self.narrow(self.backbone.encode(images, idx_keep=seen))
        whole = utils.set_at_index(utils.repeat_token(self.decoder.mask_token, size), seen, latent)
        predicted = self.predict(utils.get_at_index(self.decoder(whole), hidden))
        # The first token is [CLS], which is not a patch.
        target = utils.get_at_index(utils.patchify(images, PATCH), hidden - 1)
        return F.mse_loss(predicted, utils.normalize_mean_var(target))


class Training:
    """A network, its optimiser and its batches.

    Args:
        entry: The terms of the run.
        steps: The schedule's length.
    """

    def __init__(self, entry: Entry, steps: int) -> None:
        torch.manual_seed(entry.seed)
        self.model = LightlyMAE()
        decayed, others = utils.get_weight_decay_parameters([self.model])
        self.optimizer = torch.optim.AdamW(
            [dict(params=decayed), dict(params=others, weight_decay=0.)],
            lr=RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)
        self.scheduler = CosineWarmupScheduler(self.optimizer, round(_WARM_UP * steps), steps)
        crop = MAETransform(input_size=PIXELS)
        loader = DataLoader(
            Photographs(entry.folder, entry.train, lambda image: crop(image)[0]), BATCH,
            shuffle=True, drop_last=True)
        self.batches: Iterator[Tensor] = itertools.chain.from_iterable(itertools.repeat(loader))

    def step(self) -> None:
        """Train on one batch."""
        self.model(next(self.batches)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()


def main() -> None:
    """Time a few steps, then train for as many as fit."""
    entry, _ = parse_entry()
    steps = steps_in(entry.seconds, timed(Training(entry, steps=1000).step))
    training = Training(entry, steps)
    record = Record(entry, training.model,
                    lambda images: training.model.backbone.encode(images)[:, 1:])
    record.begin()
    for _ in range(steps):
        training.step()
        record.step()
    record.end(BATCH, ['lightly', 'timm', 'torch'])


if __name__ == '__main__':
    main()
