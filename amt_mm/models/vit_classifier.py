"""A classifier on a pre-trained transformer, for linear probing and fine-tuning."""

from __future__ import annotations

from inspect import signature

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .host import follow_backbone

# What a neck or a head calls the width of the features it takes.
_WIDTH = ('in_channels', 'input_features')


@MODELS.register_module()
class ViTClassifier(ImageClassifier):
    """mmpretrain's classifier, whose neck and head follow the transformer.

    A config says ``model.backbone.arch`` once; the width of the features and the
    depth that is frozen follow from it.

    Args:
        backbone: Config of :class:`mmpretrain.models.VisionTransformer`. The
            feature is [CLS] after the final norm. With
            ``out_type='avg_featmap'`` it is the mean of the patch tokens, normed
            after the mean and not before, as MAE's own fine-tuning has it (its
            code, not its paper), unless ``final_norm`` says otherwise. Of
            :class:`~amt_mm.models.LastBlocksViT` it is [CLS] of the last blocks.
        neck: Config of a neck, with or without its width. Defaults to None.
        head: Config of a head, with or without its width. Defaults to None: the
            model gives features alone, for k-NN.
        frozen: Freeze the whole backbone, final norm included, and keep it in
            evaluation mode. Defaults to False.
        **kwargs: See :class:`mmpretrain.models.ImageClassifier`.

    Raises:
        InputError: Neck or head name another width than the backbone has.
    """

    def __init__(self, backbone: dict, neck: dict | None = None, head: dict | None = None,
                 frozen: bool = False, **kwargs) -> None:
        averaged = backbone.get('out_type') == 'avg_featmap'
        backbone = MODELS.build({'final_norm': not averaged, **backbone})
        width = getattr(backbone, 'feature_dims', backbone.embed_dims)
        super().__init__(backbone, neck and _sized('neck', neck, width),
                         head and _sized('head', head, width), **kwargs)
        self.frozen = frozen
        if frozen:
            # mmpretrain freezes the final norm along with the last block only.
            self.backbone.frozen_stages = len(self.backbone.layers)
            self.backbone._freeze_stages()

    def train(self, mode: bool = True) -> ViTClassifier:
        """Switch the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def _sized(part: str, cfg: dict, width: int) -> dict:
    cls = MMPRETRAIN_MODELS.get(cfg['type'])
    if cls is None:
        raise InputError(f'model.{part}.type={cfg["type"]!r} is not registered')
    names = [name for name in _WIDTH if name in signature(cls).parameters]
    return follow_backbone(part, cfg, **dict.fromkeys(names, width))
