"""Hugging Face's ViTMAEForPreTraining with its Trainer, by the settings of its run_mae.py."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torchvision.transforms import v2
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    set_seed,
)

from lab.race.entry import (
    TIMED_STEPS,
    Entry,
    Photographs,
    normalised,
    parse_entry,
    steps_in,
)
from lab.race.record import Record
from lab.race.terms import (
    BATCH,
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

_WARM_UP = 0.05  # share of the steps, as its documentation has it


class Marks(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Note the time."""
        self.seconds.append(time.perf_counter())


class Recording(TrainerCallback):
    """Records the network that is trained.

    Args:
        entry: The terms of the run.
        model: The network.
    """

    def __init__(self, entry: Entry, model: ViTMAEForPreTraining) -> None:
        self.record = Record(entry, model, lambda images: patch_tokens(model, images))

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Record the untrained network."""
        self.record.begin()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Record the network if it is time."""
        self.record.step()

    def on_train_end(self, args, state, control, **kwargs) -> None:
        """Record the trained network."""
        self.record.end(BATCH, ['transformers', 'accelerate', 'torch'])


def build_model() -> ViTMAEForPreTraining:
    """Build the network, with the loss on normalised patches."""
    return ViTMAEForPreTraining(ViTMAEConfig(
        hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=HEADS,
        intermediate_size=MLP_RATIO * WIDTH, image_size=PIXELS, patch_size=PATCH,
        decoder_hidden_size=DECODER_WIDTH, decoder_num_hidden_layers=DECODER_BLOCKS,
        decoder_num_attention_heads=DECODER_HEADS,
        decoder_intermediate_size=MLP_RATIO * DECODER_WIDTH, mask_ratio=MASK_RATIO,
        norm_pix_loss=True))


def patch_tokens(model: ViTMAEForPreTraining, images: Tensor) -> Tensor:
    """Return the patch tokens ``(B, N, D)`` of unmasked images, in order."""
    config, patches = model.config, (PIXELS // PATCH)**2
    # The encoder always masks, by the order of this noise; given, it draws no random number.
    noise = torch.arange(patches, dtype=torch.float32).expand(len(images), -1)
    config.mask_ratio = 0.
    try:
        return model.vit(images, noise=noise).last_hidden_state[:, 1:]
    finally:
        config.mask_ratio = MASK_RATIO


def build_trainer(entry: Entry, steps: int) -> Trainer:
    """Build the Trainer, with a new network and the schedule for so many steps."""
    set_seed(entry.seed)
    crop = v2.Compose([
        v2.RandomResizedCrop(PIXELS, (0.2, 1), interpolation=v2.InterpolationMode.BICUBIC),
        v2.RandomHorizontalFlip(), *normalised()])
    return Trainer(
        build_model(),
        TrainingArguments(
            str(entry.out / 'trainer'), max_steps=steps, per_device_train_batch_size=BATCH,
            learning_rate=RATE, weight_decay=WEIGHT_DECAY, lr_scheduler_type='cosine',
            warmup_steps=_WARM_UP, seed=entry.seed, use_cpu=True, save_strategy='no',
            report_to='none', remove_unused_columns=False, disable_tqdm=True),
        train_dataset=Photographs(entry.folder, entry.train, crop),
        data_collator=lambda images: {'pixel_values': torch.stack(images)})


def main() -> None:
    """Time a few steps, then train for as many as fit."""
    entry, _ = parse_entry()
    trial, marks = build_trainer(entry, TIMED_STEPS), Marks()
    trial.add_callback(marks)
    trial.train()
    trainer = build_trainer(entry, steps_in(entry.seconds, marks.seconds))
    trainer.add_callback(Recording(entry, trainer.model))
    trainer.train()


if __name__ == '__main__':
    main()
