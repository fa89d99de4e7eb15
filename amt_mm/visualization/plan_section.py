"""Section: how often each patch is masked, thrown and visible."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from amt_mm.masking import MASKED, THROWN, VISIBLE, CropMasking, count_states
from amt_mm.models.recorded_masks import MaskRecipe
from amt_mm.saliency import cls_attention

from .colours import apply_colours
from .page import Picture, colour_scale, legend, state_samples
from .pictures import plan_picture, saliency_overlay
from .sections import Row, Section
from .shown import Shown

_STATES = {'masked': MASKED, 'thrown': THROWN, 'visible': VISIBLE}
_SOURCES = {'cls': 'the attention of [CLS]', 'all': 'the attention received from all tokens',
            'feature': 'the deviation of the features'}


def recipe_maps(recipe: MaskRecipe, shown: Shown, means: Mapping[str, Tensor]) -> Tensor | None:
    """Compute the maps that guide a recipe's masks, by the encoder that is shown.

    Args:
        recipe: The recipe.
        shown: The images.
        means: ``recipe.source.means``.

    Returns:
        ``(B, N)`` on the CPU; None if the masks need none, or the encoder has no [CLS].
    """
    if not recipe.generator.needs_weights or not shown.has_cls:
        return None
    if isinstance(recipe.generator, CropMasking):
        return cls_attention(shown.vit, shown.inputs).mean(dim=1).cpu()
    return recipe.source.maps(shown.vit, shown.inputs, means).cpu()


def plan_section(shown: Shown, recipe: MaskRecipe, maps: Tensor | None, draws: int = 200,
                 seed: int = 0) -> Section:
    """Draw the plan of each image many times and show how often each patch has which state.

    Masks that no map guides are the same for all images: only those of the first are shown.

    Args:
        shown: The images.
        recipe: How they are masked.
        maps: From :func:`recipe_maps`; None masks as before the first refresh.
        draws: Number of plans. Defaults to 200: a share is then known to 3.5 points (one standard
            deviation) or better.
        seed: Of the draws.

    Raises:
        InputError: The masks do not fit the grid.
    """
    random = torch.Generator().manual_seed(seed)
    grid, count = shown.grid, len(shown.inputs)
    weights = None if maps is None else recipe.weights(maps, grid)
    counts = count_states(lambda: recipe.draw(count, grid, weights, random), draws)  # (3, B, N)
    plan = recipe.draw(count, grid, weights, random).int().numpy()  # (B, N)
    drawn = {word: state for word, state in _STATES.items() if counts[state].any()}
    means = {word: 100 * float(counts[state].double().mean()) / draws
             for word, state in drawn.items()}
    # Of the binomial law, for the largest of them.
    deviation = max((mean * (100 - mean) / draws)**0.5 for mean in means.values())
    rows, images = [], list(zip(shown.names, shown.images, strict=True))
    for i, (name, image) in enumerate(images if maps is not None else images[:1]):
        pictures = [Picture('image', image)]
        if maps is not None:
            pictures.append(Picture('map', saliency_overlay(image, maps[i].unflatten(0, grid))))
        pictures += [Picture(word, shown.patches(apply_colours(counts[state, i].numpy() / draws)))
                     for word, state in drawn.items()]
        pictures.append(Picture('one plan', plan_picture(image, plan[i], grid)))
        rows.append(Row(name, pictures))
    return Section(
        'plan', 'What is masked, and how often',
        [_origin(recipe, maps),
         f'{draws} plans were drawn for each image; colours are the share of them in which a patch '
         f'was {" or ".join(drawn)}. The mean over all patches is '
         + ', '.join(f'{mean:.3g}\xa0% {word}' for word, mean in means.items())
         + '. Brighter patches are chosen more often than others, darker ones less; by chance '
         f'alone a share varies by about {deviation:.0f} points.'],
        rows, legend(colour_scale('share of the plans', '0 to 100 %'),
                     state_samples(shown.images[0], drawn.values())), columns=len(rows[0].pictures))


def _origin(recipe: MaskRecipe, maps: Tensor | None) -> str:
    start = (f'By the masks recorded in the checkpoint: {recipe.words}' if recipe.recorded else
             f'By AMT at its defaults, not by masks of the checkpoint: {recipe.reason}')
    if not recipe.generator.needs_weights:
        return (f'{start}. They are random: nothing in the image guides them, so one image stands '
                'for all.')
    if maps is None:
        return (f'{start}. Without [CLS] there is no map to guide them, so they are random, by the '
                'ratio of the warm-up.')
    if isinstance(recipe.generator, CropMasking):
        return f'{start}. They are guided by the attention of [CLS] in the last block.'
    source = recipe.source
    words = _SOURCES[source.source] + {
        'last': ' in the last block', 'mean': ', mean over all blocks'}.get(
            source.layers, f' in block {source.layers}')
    return f'{start}. They are guided by {words} of this encoder ("map", low to high).'
