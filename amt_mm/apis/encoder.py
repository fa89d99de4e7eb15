"""An encoder from any checkpoint, set up as evaluation sets it up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from torch import nn

from amt_mm.checkpoints import Checkpoint, read_checkpoint
from amt_mm.checkpoints.describe import Pretraining, describe
from amt_mm.checkpoints.load_backbone import LoadReport, load_backbone
from amt_mm.evaluation.dataset_features import has_cls

from .evaluation import adapt_config, find_config
from .judging import build_model

# They train the patch tokens; what becomes of their [CLS] is left to chance.
_PATCH_HOSTS = ('MAE', 'SimMIM', 'MaskFeat')


@dataclass(frozen=True)
class LoadedEncoder:
    """The encoder of a checkpoint, and what the checkpoint tells of it.

    Attributes:
        model: A classifier without a head whose backbone returns all tokens, on a GPU if there is
            one.
        cfg: Config of k-NN for folders with this encoder; it has the pipeline of test images.
        content: What is in the file; of trained and averaged weights, the trained.
        pretraining: See :func:`amt_mm.checkpoints.describe.describe`.
        report: What was loaded.
    """

    model: nn.Module
    cfg: Config
    content: Checkpoint
    pretraining: Pretraining
    report: LoadReport

    @property
    def pipeline(self) -> list[dict]:
        """Transforms of an image file: the short edge is scaled, the centre cut out."""
        return self.cfg.test_dataloader.dataset.pipeline

    @property
    def has_cls(self) -> bool:
        """Whether the encoder has a [CLS] token."""
        return has_cls(self.model)

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return self.model.backbone.patch_embed.projection.in_channels

    @property
    def pooling(self) -> str:
        """``'mean'`` (of the patch tokens) where [CLS] is missing or untrained, else ``'cls'``."""
        return 'mean' if not self.has_cls or self.pretraining.host in _PATCH_HOSTS else 'cls'


def load_encoder(checkpoint: Path, image_size: int | None = None, encoder: str | None = None
                 ) -> LoadedEncoder:
    """Build the encoder of a checkpoint and load it.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        image_size: Side in pixels. Defaults to None: that of the pre-training, or 224.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.

    Raises:
        InputError: No such checkpoint, no encoder in it, or the patch does not divide the image.
    """
    pretraining = describe(checkpoint, encoder)
    # A decoder fits the trained weights, not their average.
    content = read_checkpoint(checkpoint, 'student')
    config, _ = find_config('knn', 'folder', pretraining)
    cfg = adapt_config(config, pretraining,
                       {} if image_size is None else {'overlay.image_size': image_size})
    model = build_model(cfg)
    return LoadedEncoder(model, cfg, content, pretraining,
                         load_backbone(model, checkpoint, encoder))
