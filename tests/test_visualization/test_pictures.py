import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.visualization import (
    denormalise,
    paste_reconstruction,
    plan_picture,
    saliency_overlay,
    upscale,
)

GRID = (3, 5)
STATES = np.array([0, 1, 2, 0, 1, 2, 2, 0, 1, 0, 0, 1, 1, 2, 0], dtype=np.int8)


def photo(height=24, width=50, seed=0):
    # Coloured throughout, so that no pixel passes for the grey of a mask.
    image = np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)
    image[..., 0] = 230
    return image


def tokens(picture):
    """(15, 8, 10, 3) tokens of a picture of 24 x 50 pixels, cut one by one."""
    return np.stack(
        [picture[8 * r : 8 * r + 8, 10 * c : 10 * c + 10] for r in range(3) for c in range(5)])


def test_denormalise_inverts_the_normalisation():
    image = photo(5, 7)
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    normalised = (
        torch.from_numpy(image).permute(2, 0, 1).float() - torch.tensor(mean)[:, None, None])
    normalised = normalised / torch.tensor(std)[:, None, None]
    assert (denormalise(normalised, mean, std) == image).all()
    extreme = denormalise(np.stack([np.full((2, 2), v) for v in (9.0, -9.0, np.nan)]), mean, std)
    assert extreme[0, 0].tolist() == [255, 0, 0]


def test_upscale_gives_each_token_one_cell():
    image = photo(3, 5)
    assert (upscale(image, GRID, 4) == image.repeat(4, 0).repeat(4, 1)).all()
    smooth = upscale(
        np.stack([np.full((2, 2), [0, 200])] * 3, -1).astype(np.uint8), (1, 1), 40, True)
    assert smooth.shape == (40, 40, 3)
    assert (np.diff(smooth[0, :, 0].astype(int)) >= 0).all()
    assert 90 < smooth[0, 20, 0] < 110


def test_the_plan_shows_each_state_in_its_place():
    image = photo()
    drawn = tokens(plan_picture(image, STATES, GRID))
    plain = tokens(image)
    assert (drawn[STATES == 0] == plain[STATES == 0]).all()
    masked, thrown = drawn[STATES == 1], drawn[STATES == 2]
    for look in (masked, thrown):
        assert (look.min(-1) == look.max(-1)).all(), 'grey'
        assert len(np.unique(look)) == 2, 'a ground and a line'
    assert masked.max() < 100 and thrown.min() > 180
    # Every token shows its lines, not the first alone.
    assert all(len(np.unique(token)) == 2 for token in masked)
    assert all((token == thrown[0]).all() for token in thrown)
    assert (thrown[0] == thrown[0][::-1]).all() and (thrown[0] == thrown[0][:, ::-1]).all()


@pytest.mark.parametrize('cell', [1, 2, 3, 4, 16, 61])
def test_the_states_look_different_at_any_cell_size(cell):
    image = np.full((cell, 3 * cell, 3), [230, 40, 40], dtype=np.uint8)
    picture = plan_picture(image, [0, 1, 2], (1, 3)).astype(float)
    means = [picture[:, i * cell : (i + 1) * cell].mean() for i in range(3)]
    assert means[1] < 95 < 100 < means[0] < 110 < 180 < means[2]


def test_the_reconstruction_fills_masked_tokens_only():
    image, guess = photo(), photo(seed=1)
    drawn = tokens(paste_reconstruction(image, guess, torch.from_numpy(STATES), GRID))
    assert (drawn[STATES == 0] == tokens(image)[STATES == 0]).all()
    assert (drawn[STATES == 1] == tokens(guess)[STATES == 1]).all()
    assert drawn[STATES == 2].min() > 180


def test_does_not_modify_its_inputs():
    image, guess = photo(), photo(seed=1)
    kept = image.copy()
    plan_picture(image, STATES, GRID)
    paste_reconstruction(image, guess, STATES, GRID)
    saliency_overlay(image, np.arange(15).reshape(GRID))
    assert (image == kept).all()


def test_the_overlay_is_bright_where_the_map_is_high():
    image = np.full((30, 50, 3), 120, dtype=np.uint8)
    saliency = torch.zeros(3, 5)
    saliency[2, 4] = 7.0
    picture = saliency_overlay(image, saliency)
    assert picture.shape == image.shape and picture.dtype == np.uint8
    light = picture.astype(float).sum(-1)
    row, column = np.unravel_index(light.argmax(), light.shape)
    assert row >= 20 and column >= 40
    assert light[25, 45] > 2 * light[5, 5]
    # Scale and offset of the map do not show, and a constant map shows no structure.
    assert (saliency_overlay(image, saliency * 3 + 1) == picture).all()
    flat = saliency_overlay(image, np.full((3, 5), 0.4))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1
    # The image shines through.
    assert (saliency_overlay(image // 2, saliency) != picture).any()


@pytest.mark.parametrize(
    ('call', 'message'),
    [(lambda: plan_picture(photo(25, 50), STATES, GRID), '25 x 50'),
     (lambda: plan_picture(photo(), STATES[:14], GRID), r'give \(15,\)'),
     (lambda: plan_picture(photo(), STATES + 1, GRID), 'thrown'),
     (lambda: plan_picture(photo().astype(float), STATES, GRID), 'uint8'),
     (lambda: plan_picture(photo()[..., 0], STATES, GRID), r'\(H, W, 3\)'),
     (lambda: paste_reconstruction(photo(), photo(24, 40), STATES, GRID), 'does not fit'),
     (lambda: saliency_overlay(photo(), np.full((3, 5), np.nan)), 'finite'),
     (lambda: saliency_overlay(photo(), np.zeros(15)), r'\(15,\)'),
     (lambda: upscale(photo(), GRID, 0), '0 pixels'),
     (lambda: denormalise(photo(), [1, 1, 1], [1, 1, 1]), r'\(C, H, W\)')])
def test_refuses_bad_input_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as raised:
        call()
    assert '\n' not in str(raised.value)
