"""AMTDataPreprocessor: normalise a batch, look its saliency up, make its plan."""

from __future__ import annotations

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.masking import MaskGenerator, patch_grid, usable_rows
from amt_mm.registry import MODELS, TASK_UTILS
from amt_mm.saliency import LossMap, SaliencyStore, resample


@MODELS.register_module()
class AMTDataPreprocessor(SelfSupDataPreprocessor):
    """From a batch of crops to normalised images and a mask plan.

    The only reader of the saliency store during training. Workers record which
    sample a crop comes from, where it was cut and how it was flipped; the maps
    stay in the main process, so that a refresh reaches the very next batch, with
    persistent workers too. In training the result carries ``plan`` beside
    ``inputs`` and ``data_samples``, and the model's forward takes it by name.

    Args:
        mask_generator: A mask generator or its config (registry ``TASK_UTILS``).
        non_blocking: Do not wait for copies to the device; pays with pinned memory.
            Defaults to True, unlike mmpretrain's.
        **kwargs: mean, std and channel order: see
            :class:`mmpretrain.models.SelfSupDataPreprocessor`. Crops have one size,
            so there is no padding.

    Raises:
        InputError: A ``pad_size_divisor`` other than 1.

    Attributes:
        store: Saliency of the training set, or None before the first refresh
            (random masking). Set by
            :class:`~amt_mm.guidance.SaliencyUpdateHook` or, maps of losses, by
            :class:`~amt_mm.guidance.TokenLossHook`; no buffer, so neither
            checkpoints nor DDP nor EMA copy it.
        patch_size: Side of a patch in pixels; set by the model.
        fallbacks: Number of samples planned by chance although maps were there,
            because theirs was flat or not finite, ``()`` int64.
    """

    def __init__(self, mask_generator: MaskGenerator | dict, non_blocking: bool = True,
                 **kwargs) -> None:
        super().__init__(non_blocking=non_blocking, **kwargs)
        if self.pad_size_divisor != 1:
            raise InputError('data_preprocessor.pad_size_divisor has no effect here: crops have '
                             'one size; leave it out')
        if isinstance(mask_generator, dict):
            mask_generator = TASK_UTILS.build(mask_generator)
        self.mask_generator = mask_generator
        self.store: SaliencyStore | LossMap | None = None
        self.patch_size: int | None = None
        self.fallbacks = torch.zeros((), dtype=torch.int64)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Process one collated batch.

        Args:
            data: ``inputs``, ``(B, 3, H, W)`` uint8, and ``data_samples`` with
                ``sample_idx``, ``crop_box``, ``flip`` and ``flip_direction``.
            training: Whether to make a plan.

        Returns:
            ``inputs`` (B, 3, H, W) fp32, ``data_samples`` as they came and, in
            training, ``plan``.
        """
        # Data samples stay where they are: casting them copies each one for nothing.
        samples = data.get('data_samples')
        inputs = self.normalize(data['inputs'])
        result = {'inputs': inputs, 'data_samples': samples}
        if training:
            grid = patch_grid(*inputs.shape[-2:], self.patch_size)
            with torch.no_grad():
                weights = self.weights(samples, grid)
                result['plan'] = self.mask_generator(len(inputs), grid, weights, inputs.device)
        return result

    def normalize(self, images: Tensor) -> Tensor:
        """Images on the device, in the model's channel order, normalised.

        As the parent does it, but for its channel order by a list of indices, which
        would be copied to the device at each step, and waited for.

        Args:
            images: ``(B, 3, H, W)`` uint8.

        Returns:
            ``(B, 3, H, W)`` fp32.
        """
        images = images.to(self.device, non_blocking=self._non_blocking)
        if self._channel_conversion:
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self._enable_normalize else images

    def weights(self, samples: list, grid: tuple[int, int]) -> Tensor | None:
        """Saliency of each patch of each crop, ``(B, h * w)``, or None in the warm-up."""
        if self.store is None or not self.mask_generator.needs_weights:
            return None
        sample_idx, boxes = crops_of(samples)
        maps = self.store.lookup(sample_idx)
        if self.device.type == 'cuda':  # a copy from pageable memory waits for the device
            maps, boxes = maps.pin_memory(), boxes.pin_memory()
        weights = resample(maps.to(self.device, non_blocking=True),
                           boxes.to(self.device, non_blocking=True), grid)
        self.fallbacks = self.fallbacks.to(self.device) + (~usable_rows(weights)).sum()
        return weights


def crops_of(samples: list) -> tuple[Tensor, Tensor]:
    """Which part of which sample each crop shows.

    Args:
        samples: Data samples of a batch.

    Returns:
        Indices ``(B,)`` int64, and boxes ``(x0, y0, x1, y1)`` relative to the
        whole image, read backwards along each flipped axis, ``(B, 4)``.

    Raises:
        InputError: The training pipeline recorded no crop.
    """
    return _gather_meta(samples, 'sample_idx', torch.int64), _oriented_boxes(samples)


def _gather_meta(samples: list, name: str, dtype: torch.dtype) -> Tensor:
    try:
        return torch.tensor([getattr(sample, name) for sample in samples], dtype=dtype)
    except AttributeError:
        raise InputError(
            f'the batch carries no `{name}`: guided masking needs the transforms '
            "'amt_mm.RandomResizedCropWithBox' and 'amt_mm.PackInputsWithBox' in the training "
            'pipeline (the overlays under configs/_base_/amt put them there)') from None


def _oriented_boxes(samples: list) -> Tensor:
    """Crop boxes, read backwards along each flipped axis, ``(B, 4)``."""
    boxes = _gather_meta(samples, 'crop_box', torch.float32)
    directions = [(sample.get('flip_direction') or '') if sample.get('flip') else ''
                  for sample in samples]
    mirrored = torch.tensor([d in ('horizontal', 'diagonal') for d in directions])
    upended = torch.tensor([d in ('vertical', 'diagonal') for d in directions])
    x, y = boxes[:, [0, 2]], boxes[:, [1, 3]]
    x = torch.where(mirrored[:, None], x.flip(1), x)
    y = torch.where(upended[:, None], y.flip(1), y)
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
