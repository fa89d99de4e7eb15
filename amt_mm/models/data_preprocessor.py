"""AMTDataPreprocessor: normalise a batch, look up its saliency and make its plan."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.masking import MaskGenerator, patch_grid, usable_rows
from amt_mm.registry import MODELS, TASK_UTILS
from amt_mm.saliency import LossMap, SaliencyStore, resample

from .channels_data_preprocessor import ChannelsDataPreprocessor


@MODELS.register_module()
class AMTDataPreprocessor(ChannelsDataPreprocessor):
    """Normalise the images of a batch of crops and make its mask plan.

    The only reader of the saliency store during training. Loading workers record the sample, box
    and flip of each crop; the maps stay in the training process, so that a refresh affects the very
    next batch, also with persistent workers. During training the result contains ``plan`` in
    addition to ``inputs`` and ``data_samples``; the model's forward takes it by name.

    Args:
        mask_generator: A mask generator or its config (registry ``TASK_UTILS``).
        non_blocking: Whether copies to the device are asynchronous, for pinned memory. Defaults to
            True, unlike mmpretrain's.
        **kwargs: Mean, std and channel order, see
            :class:`mmpretrain.models.SelfSupDataPreprocessor`. Crops have one size, so there is no
            padding.

    Raises:
        InputError: ``pad_size_divisor`` is not 1.

    Attributes:
        store: Saliency of the training set, or None before the first refresh (random masking). Set
            by :class:`~amt_mm.guidance.SaliencyUpdateHook` or, for loss maps, by
            :class:`~amt_mm.guidance.TokenLossHook`. Not a buffer, so that checkpoints, DDP and EMA
            do not copy it.
        patch_size: Side of a patch in pixels; set by the model.
        fallbacks: Number of samples masked at random because their part of the map was constant or
            not finite, ``()`` int64.
    """

    def __init__(self, mask_generator: MaskGenerator | dict, non_blocking: bool = True,
                 **kwargs) -> None:
        super().__init__(non_blocking=non_blocking, **kwargs)
        if self.pad_size_divisor != 1:
            raise InputError('data_preprocessor.pad_size_divisor has no effect here: crops have '
                             'one size; remove it')
        if isinstance(mask_generator, dict):
            mask_generator = TASK_UTILS.build(mask_generator)
        self.mask_generator = mask_generator
        self.store: SaliencyStore | LossMap | None = None
        self.patch_size: int | None = None
        self.fallbacks = torch.zeros((), dtype=torch.int64)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Process one collated batch.

        Args:
            data: ``inputs``, ``(B, C, H, W)`` uint8 or float in 0..255, and ``data_samples`` with
                ``sample_idx``, ``crop_box``, ``flip`` and ``flip_direction``.
            training: Whether to make a plan.

        Returns:
            ``inputs`` (B, C, H, W) fp32, unchanged ``data_samples`` and, in training, ``plan``.
        """
        # Data samples are not moved to the device: each would be copied for nothing.
        samples = data.get('data_samples')
        inputs = self.normalize(data['inputs'])
        result = {'inputs': inputs, 'data_samples': samples}
        if training:
            grid = patch_grid(*inputs.shape[-2:], self.patch_size)
            with torch.no_grad():
                weights = self.look_up_weights(samples, grid)
                result['plan'] = self.mask_generator(len(inputs), grid, weights, inputs.device)
        return result

    def normalize(self, images: Tensor) -> Tensor:
        """Move images to the device, convert their channel order and normalise them.

        Equals the parent class, which however reorders channels by a list of indices: a blocking
        copy to the device at each step.

        Args:
            images: ``(B, C, H, W)``.

        Returns:
            ``(B, C, H, W)`` fp32.
        """
        images = images.to(self.device, non_blocking=self._non_blocking)
        if self._channel_conversion:
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self._enable_normalize else images

    def look_up_weights(self, samples: list, grid: tuple[int, int]) -> Tensor | None:
        """Look up the saliency of each patch of each crop, ``(B, h * w)``; None if not needed."""
        if self.store is None or not self.mask_generator.needs_weights:
            return None
        sample_idx, boxes = read_crops(samples)
        maps, boxes = self.window(self.store.lookup(sample_idx), boxes)
        if self.device.type == 'cuda':  # a copy from pageable memory waits for the device
            maps, boxes = maps.pin_memory(), boxes.pin_memory()
        weights = resample(maps.to(self.device, non_blocking=True),
                           boxes.to(self.device, non_blocking=True), grid)
        self.fallbacks = self.fallbacks.to(self.device) + (~usable_rows(weights)).sum()
        return weights

    def window(self, maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Choose what of the maps ``(B, h, w)`` is read, and the boxes ``(B, 4)`` within it."""
        return maps, boxes


def read_crops(samples: list) -> tuple[Tensor, Tensor]:
    """Read the sample and the box of each crop.

    Args:
        samples: Data samples of a batch.

    Returns:
        Sample indices ``(B,)`` int64, and boxes ``(x0, y0, x1, y1)`` relative to the whole image,
        reversed along each flipped axis, ``(B, 4)``.

    Raises:
        InputError: The training pipeline did not record crops.
    """
    return _stack_field(samples, 'sample_idx', torch.int64), _oriented_boxes(samples)


def _stack_field(samples: list, name: str, dtype: torch.dtype) -> Tensor:
    try:
        return torch.tensor([getattr(sample, name) for sample in samples], dtype=dtype)
    except AttributeError:
        raise InputError(
            f'the batch has no `{name}`: guided masking needs the transforms '
            "'amt_mm.RandomResizedCropWithBox' and 'amt_mm.PackInputsWithBox' in the training "
            'pipeline (the overlays under configs/_base_/amt add them)') from None


def _oriented_boxes(samples: list) -> Tensor:
    """Crop boxes, reversed along each flipped axis, ``(B, 4)``."""
    boxes = _stack_field(samples, 'crop_box', torch.float32)
    directions = [(sample.get('flip_direction') or '') if sample.get('flip') else ''
                  for sample in samples]
    mirrored = torch.tensor([d in ('horizontal', 'diagonal') for d in directions])
    upended = torch.tensor([d in ('vertical', 'diagonal') for d in directions])
    x, y = boxes[:, [0, 2]], boxes[:, [1, 3]]
    x = torch.where(mirrored[:, None], x.flip(1), x)
    y = torch.where(upended[:, None], y.flip(1), y)
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
