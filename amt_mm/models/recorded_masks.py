"""The masks that a checkpoint was trained with, from the config in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amt_mm import masking
from amt_mm.config_parts import (
    class_name,
    mask_config,
    preprocessor_config,
    section,
    sections,
)
from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, CropMasking, MaskGenerator, RandomMaskGenerator
from amt_mm.saliency import SaliencySource, resample

from .data_preprocessor import AMTDataPreprocessor
from .released_weights import ReleasedWeights

_HOSTS = ('AMTMAE', 'AMTSimMIM', 'AMTMaskFeat', 'IBOT')
_PREPROCESSORS = {'AMTDataPreprocessor': AMTDataPreprocessor, 'ReleasedWeights': ReleasedWeights}
_SOURCE = ('source', 'layers', 'normalize', 'debias')


@dataclass(frozen=True)
class MaskRecipe:
    """How the tokens of whole images are masked.

    Attributes:
        words: The generator with its settings, for people.
        generator: It makes a plan, or, in self-distillation, masks.
        source: How the maps are computed from the encoder. Those of self-distillation are its
            attention, not rescaled.
        preprocessor: Class whose ``window`` says what of a map is read.
        recorded: Whether the config says so; else it is AMT at its defaults.
        reason: Why it is not recorded, a clause; '' if it is.
    """

    words: str
    generator: MaskGenerator | CropMasking
    source: SaliencySource = SaliencySource()
    preprocessor: type[AMTDataPreprocessor] = AMTDataPreprocessor
    recorded: bool = True
    reason: str = ''

    def weights(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """Read the weights of whole images from their maps, as in training.

        Args:
            maps: ``(B, h * w)``.
            grid: Rows and columns ``(h, w)``.

        Returns:
            ``(B, h * w)``.
        """
        if isinstance(self.generator, CropMasking):
            return maps
        whole = torch.tensor([[0., 0., 1., 1.]]).expand(len(maps), -1)
        window = self.preprocessor.window(None, maps.unflatten(1, grid), whole)
        return resample(*window, grid)

    def draw(self, count: int, grid: tuple[int, int], weights: Tensor | None,
             random: torch.Generator) -> Tensor:
        """Draw a plan of some images and return its states, ``(count, h * w)``."""
        if isinstance(self.generator, CropMasking):
            return self.generator(count, grid, weights, generator=random,
                                  host_generator=random).states()
        return self.generator(count, grid, weights, generator=random).states()


def mask_recipe(config: Mapping[str, Any]) -> MaskRecipe:
    """Read the masks in the config of a checkpoint; without them, AMT at its defaults.

    Only generators of :mod:`amt_mm.masking` are built: a file from elsewhere does not say what
    else to run.

    Args:
        config: ``Checkpoint.config``, empty if the file has none.

    Raises:
        InputError: A recorded setting is out of range.
    """
    model = section(config.get('model'))
    host = class_name(model)
    if host == 'MAE':  # mmpretrain's, whose encoder masks
        ratio = section(model.get('backbone')).get('mask_ratio', 0.75)
        return MaskRecipe(f'MAE of mmpretrain, mask_ratio={ratio}', RandomMaskGenerator(ratio))
    if host not in _HOSTS:
        return _default('it records no masks')
    recorded = mask_config(config)
    hooks = {class_name(hook): hook for hook in sections(config.get('custom_hooks'))}
    name = class_name(recorded)
    kind = getattr(masking, name, None)
    if not isinstance(kind, type) or not issubclass(kind, (MaskGenerator, CropMasking)):
        return _default(f'its masks, {name or "none"}, are not of this toolbox'
                        if recorded else 'it records no masks')
    reader = _PREPROCESSORS.get(class_name(preprocessor_config(config)), AMTDataPreprocessor)
    if 'TokenLossHook' in hooks:
        return _default('its masks follow the loss of each patch in training, which only its own '
                        'images have')
    settings = {key: value for key, value in recorded.items() if key not in ('type', '_scope_')}
    try:
        generator = kind(**settings)
    except TypeError as error:
        raise InputError(f'{name} in the config of the checkpoint: {error}') from error
    if isinstance(generator, MaskGenerator):
        generator.finish()  # what depends on progress is shown as it was at the end
    hook = hooks.get('SaliencyUpdateHook', {})
    if isinstance(generator, MaskGenerator) and generator.needs_weights and not hook:
        return _default('its masks follow maps that its encoder did not make')
    source = SaliencySource(**{key: hook[key] for key in _SOURCE if key in hook})
    words = ', '.join([name, *(f'{key}={value}' for key, value in settings.items())])
    return MaskRecipe(words, generator, source, reader)


def _default(reason: str) -> MaskRecipe:
    return MaskRecipe('AMTMaskGenerator at its defaults', AMTMaskGenerator(), recorded=False,
                      reason=reason)
