"""ViTClassifier: classifier on a pre-trained transformer, for linear probing and fine-tuning."""

from __future__ import annotations

from inspect import signature

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .host import fill_in_sizes

# Names of the feature width in the arguments of necks and heads.
_WIDTH = ('in_channels', 'input_features')


@MODELS.register_module()
class ViTClassifier(ImageClassifier):
    """mmpretrain's classifier, with the sizes of neck and head taken from the transformer.

    Args:
        backbone: Config of :class:`mmpretrain.models.VisionTransformer`. The feature is [CLS] after
            the final norm. With ``out_type='avg_featmap'`` it is the mean of the patch tokens,
            normalised after the mean, as in MAE's fine-tuning code (not its paper), unless
            ``final_norm`` is set. For :class:`~amt_mm.models.LastBlocksViT` it is [CLS] of the last
            blocks.
        neck: Config of a neck, with or without its width. Defaults to None.
        head: Config of a head, with or without its width. Defaults to None: the model only computes
            features, for k-NN.
        frozen: Freeze the whole backbone, including the final norm, and keep it in evaluation mode.
            Defaults to False.
        **kwargs: See :class:`mmpretrain.models.ImageClassifier`.

    Raises:
        InputError: The width of neck or head contradicts the backbone.
    """

    def __init__(self, backbone: dict, neck: dict | None = None, head: dict | None = None,
                 frozen: bool = False, **kwargs) -> None:
        averaged = backbone.get('out_type') == 'avg_featmap'
        backbone = MODELS.build({'final_norm': not averaged, **backbone})
        width = getattr(backbone, 'feature_dims', backbone.embed_dims)
        super().__init__(backbone, neck and _with_width('neck', neck, width),
                         head and _with_width('head', head, width), **kwargs)
        self.frozen = frozen
        if frozen:
            # mmpretrain freezes the final norm only together with the last block.
            self.backbone.frozen_stages = len(self.backbone.layers)
            self.backbone._freeze_stages()

    def train(self, mode: bool = True) -> ViTClassifier:
        """Switch the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def _with_width(part: str, cfg: dict, width: int) -> dict:
    cls = MMPRETRAIN_MODELS.get(cfg['type'])
    if cls is None:
        raise InputError(f'model.{part}.type={cfg["type"]!r} is not registered')
    names = [name for name in _WIDTH if name in signature(cls).parameters]
    return fill_in_sizes(part, cfg, **dict.fromkeys(names, width))
