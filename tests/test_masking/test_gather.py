import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.masking import patch_grid, patchify, place_tokens, take_tokens, unpatchify

SIZES = [(1, 3, 40, 56, 8), (2, 1, 6, 9, 3), (3, 3, 32, 16, 16), (2, 4, 5, 7, 1)]


@pytest.mark.parametrize(('batch', 'channels', 'height', 'width', 'patch'), SIZES)
def test_patchify_against_loops(batch, channels, height, width, patch):
    images = torch.arange(batch * channels * height * width, dtype=torch.float32)
    images = images.reshape(batch, channels, height, width)
    patches = patchify(images, patch)
    rows, columns = height // patch, width // patch
    assert patch_grid(height, width, patch) == (rows, columns)
    assert patches.shape == (batch, rows * columns, patch * patch * channels)
    for row in range(rows):
        for column in range(columns):
            block = images[:, :, row * patch:(row + 1) * patch, column * patch:(column + 1) * patch]
            values = [block[:, c, y, x] for y in range(patch) for x in range(patch)
                      for c in range(channels)]
            assert torch.equal(patches[:, row * columns + column], torch.stack(values, dim=1))
    assert torch.equal(unpatchify(patches, (rows, columns), patch), images)


@pytest.mark.parametrize(('height', 'width', 'patch'), [(40, 57, 8), (41, 56, 8), (224, 224, 15)])
def test_size_that_is_not_a_multiple_of_the_patch_is_rejected(height, width, patch):
    with pytest.raises(InputError, match=f'{height}x{width}.*patch_size={patch}'):
        patch_grid(height, width, patch)
    with pytest.raises(InputError):
        patchify(torch.zeros(1, 3, height, width), patch)


def random_ids(batch, tokens, taken):
    return torch.stack([torch.randperm(tokens)[:taken] for _ in range(batch)])


@pytest.mark.parametrize(('batch', 'tokens', 'taken'), [(1, 35, 12), (3, 35, 35), (2, 6, 0)])
def test_take_against_loops(batch, tokens, taken):
    torch.manual_seed(0)
    everything, ids = torch.rand(batch, tokens, 9), random_ids(batch, tokens, taken)
    found = take_tokens(everything, ids)
    assert found.shape == (batch, taken, 9)
    for sample in range(batch):
        for place, token in enumerate(ids[sample].tolist()):
            assert torch.equal(found[sample, place], everything[sample, token])


@pytest.mark.parametrize(('batch', 'tokens', 'taken'), [(1, 35, 12), (3, 35, 35), (2, 6, 0)])
def test_place_against_loops(batch, tokens, taken):
    torch.manual_seed(1)
    ids = random_ids(batch, tokens, taken)
    some, onto = torch.rand(batch, taken, 9), torch.rand(batch, tokens, 9)
    before = onto.clone()
    found = place_tokens(some, ids, onto)
    wanted = before.clone()
    for sample in range(batch):
        for place, token in enumerate(ids[sample].tolist()):
            wanted[sample, token] = some[sample, place]
    assert torch.equal(found, wanted)
    assert torch.equal(onto, before), 'the full set was modified'


def test_gradients_reach_only_the_selected_tokens():
    torch.manual_seed(2)
    everything, ids = torch.rand(2, 6, 3, requires_grad=True), random_ids(2, 6, 2)
    take_tokens(everything, ids).sum().backward()
    wanted = torch.zeros(2, 6)
    for sample in range(2):
        wanted[sample, ids[sample]] = 1
    assert torch.equal(everything.grad, wanted[:, :, None].expand(-1, -1, 3))
