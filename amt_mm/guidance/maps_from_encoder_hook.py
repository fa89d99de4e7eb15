"""MapsFromEncoderHook: guide masks by the attention of another, frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmengine.runner import Runner
from torch import nn

from amt_mm.checkpoints import check_encoder
from amt_mm.errors import InputError
from amt_mm.models.pretrained_vit import pretrained_vit
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

from .saliency_update_hook import SaliencyUpdateHook


@HOOKS.register_module()
class MapsFromEncoderHook(SaliencyUpdateHook):
    """Guide masks by the attention of a given encoder, such as DINOv2, not of the one in training.

    The encoder sees all training images once, as the data preprocessor normalises them, before the
    first guided step. Its maps are then used to the end, and a resumed run continues with them,
    without the encoder.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        begin: Epochs (or iterations) of random masks at the host's ratio. Defaults to 0: a given
            encoder has learnt already.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.
        image_size: Height and width of the whole images, or one number for a square; multiples of
            the encoder's patch. Defaults to None: the size of its pre-training, or 224 pixels where
            the file does not tell.
        **kwargs: ``source``, ``layers``, ``normalize``, ``debias``, ``batch_size``,
            ``num_workers``, ``dtype``, ``precision`` and ``max_flat`` of
            :class:`~amt_mm.guidance.SaliencyUpdateHook`.

    Raises:
        InputError: No such checkpoint, one that is not a vision transformer with [CLS], or one
            whose channels are not those of the images; and see
            :class:`~amt_mm.guidance.SaliencyUpdateHook`.
    """

    file_prefix = 'encoder_'

    def __init__(self, checkpoint: str | None, begin: int = 0, by_epoch: bool = True,
                 encoder: str | None = None, image_size: int | Sequence[int] | None = None,
                 **kwargs) -> None:
        super().__init__(begin, end=begin + 1, by_epoch=by_epoch, image_size=image_size, **kwargs)
        if not checkpoint or str(checkpoint) == 'none':
            raise InputError('MapsFromEncoderHook has no checkpoint: set '
                             'overlay.hooks.saliency.checkpoint to the file of an encoder')
        check_encoder(encoder, 'MapsFromEncoderHook.encoder')
        self.checkpoint = Path(checkpoint)
        self.encoder = encoder

    def load(self, model: nn.Module) -> None:
        """Build and load the encoder, for the images of a model, and enter it in ``settings``.

        Args:
            model: A host.
        """
        vit = pretrained_vit(self.checkpoint, model.backbone.in_channels, self.encoder,
                             self.settings.size)
        self.settings = replace(self.settings, image_size=vit.img_size,
                                vit=vit.to(model.data_preprocessor.device))

    def file_name(self, step: int) -> str:
        """Name of the file of the maps."""
        return f'{self.file_prefix}{step}.amtmap'

    def check_settings(self, runner: Runner) -> None:
        """Load the encoder and check it, unless a resumed run has all its maps."""
        if runner.iter == 0 or not self._reference:
            self._load_checked(runner)

    def refresh(self, runner: Runner, step: int) -> None:
        """Make the maps, and free the encoder."""
        if self.settings.vit is None:  # the run had maps, and `begin` has been raised since
            self._load_checked(runner)
        super().refresh(runner, step)
        self.settings = replace(self.settings, vit=None)

    def _load_checked(self, runner: Runner) -> None:
        self.load(unwrapped(runner))
        super().check_settings(runner)
