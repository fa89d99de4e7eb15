"""Section: what the decoder of a MAE predicts."""

from __future__ import annotations

import torch

from amt_mm.masking import CropMasking, MaskGenerator, RandomMaskGenerator
from amt_mm.models import AMTMAE
from amt_mm.models.reconstruction import Reconstruction, reconstruct
from amt_mm.models.recorded_masks import MaskRecipe

from .page import Picture
from .pictures import paste_reconstruction, plan_picture
from .sections import Row, Section
from .shown import Shown

_TITLE = 'What the decoder predicts'


def no_reconstruction(reason: str) -> Section:
    """Return the section that says why there is nothing to show, in one sentence."""
    return Section('reconstruction', _TITLE, [reason])


def reconstruction_section(shown: Shown, model: AMTMAE, recipe: MaskRecipe,
                           weights: torch.Tensor | None, seed: int = 0) -> Section:
    """Mask the images once and show what the decoder predicts.

    Args:
        shown: The images.
        model: From :func:`amt_mm.models.recorded_mae.build_mae`, on their device.
        recipe: Its masks are taken if they are recorded, else random ones of MAE's ratio.
        weights: Of the recorded masks, ``(B, N)``, or None.
        seed: Of the plan.
    """
    generator, guided = _generator(recipe)
    random = torch.Generator().manual_seed(seed)
    plan = generator(len(shown.inputs), shown.grid, weights if guided else None, generator=random)
    states = plan.states().numpy()
    found = reconstruct(model, shown.inputs, plan.to(shown.inputs.device))
    rows = []
    for i, (name, image) in enumerate(zip(shown.names, shown.images, strict=True)):
        pictures = [Picture('input', image),
                    Picture('what was visible', plan_picture(image, states[i], plan.grid))]
        for caption, images in (('prediction', found.own),
                                ('with the true mean and contrast', found.borrowed)):
            if images is not None:
                pictures.append(Picture(caption, paste_reconstruction(
                    image, shown.picture(images[i]), states[i], plan.grid)))
        rows.append(Row(name, pictures))
    shares = [f'{100 * part.shape[1] / plan.num_tokens:.3g}\xa0% {word}' for word, part in (
        ('visible', plan.visible), ('masked and predicted', plan.masked),
        ('thrown', plan.thrown)) if part.shape[1]]
    masks = ('the recorded masks' if recipe.recorded
             else 'random masks of MAE\'s ratio, since the checkpoint does not tell its own')
    return Section('reconstruction', _TITLE,
                   [f'One plan by {masks}: {", ".join(shares)}. Visible patches are shown '
                    'unchanged, masked ones as predicted, thrown ones crossed out.',
                    _what_it_uses(found)], rows, columns=len(rows[0].pictures), few=2)


def _generator(recipe: MaskRecipe) -> tuple[MaskGenerator, bool]:
    """Return the generator, and whether it reads weights."""
    if not recipe.recorded or isinstance(recipe.generator, CropMasking):
        return RandomMaskGenerator(), False
    return recipe.generator, recipe.generator.needs_weights


def _what_it_uses(found: Reconstruction) -> str:
    judged = ''
    if found.errors is not None:
        judged = (' The file does not say what its targets were; the predictions are off by '
                  f'{found.errors[0]:.2f} from normalised patches and by {found.errors[1]:.2f} '
                  'from pixels (mean squared errors), and the smaller one is believed.')
    if found.borrowed is None:
        return ('The decoder predicts pixels, so the prediction uses visible patches alone.'
                + judged)
    return ('The decoder was trained on patches scaled to mean 0 and variance 1, so it predicts '
            'neither brightness nor contrast. "Prediction" takes both from the visible patches '
            'around and uses nothing that was hidden. The last picture borrows the true mean and '
            'contrast of each masked patch, as the figures of MAE do: part of what looks predicted '
            'there was given.' + judged)
