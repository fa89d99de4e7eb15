"""load_backbone: what fits is loaded, what does not fit stops with the reason."""

import pytest
import torch
from torch import nn

from amt_mm.engine.checkpoint import check_filled, load_backbone
from amt_mm.errors import InputError


class Model(nn.Module):

    def __init__(self, width=4, depth=3):
        super().__init__()
        self.backbone = nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])


def save(path, state):
    torch.save({'state_dict': state, 'meta': {}}, path)
    return path


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_every_entry_is_loaded(tmp_path, prefix):
    source, target = Model(), Model()
    path = save(tmp_path / 'a.pth', {prefix + k: v for k, v in source.state_dict().items()})
    load_backbone(target, path)
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(('state', 'reason'), [
    ({'head.weight': torch.zeros(2)}, 'no entry named `backbone'),
    (Model(width=5).state_dict(), 'another width, depth or patch size'),
    (Model(depth=1).state_dict(), 'another width, depth or patch size'),
    ({f'backbone.blocks.{i}.weight': torch.zeros(2) for i in range(9)}, 'another architecture'),
])
def test_a_checkpoint_that_does_not_fit_stops_and_changes_nothing(tmp_path, state, reason):
    model = Model()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(InputError, match=reason) as error:
        load_backbone(model, save(tmp_path / 'a.pth', state))
    assert 'a.pth' in str(error.value) and '\n' not in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match='none.pth: no such checkpoint'):
        load_backbone(Model(), tmp_path / 'none.pth')


@pytest.mark.parametrize(('filled', 'passes'), [(100, True), (95, True), (94, False), (0, False)])
def test_threshold_is_95_per_cent(filled, passes):
    own = {f'backbone.k{i}': torch.zeros(i + 1) for i in range(100)}
    own['head.k'] = torch.zeros(1)  # not asked for
    state = {key: value if i < filled else torch.zeros(0) for i, (key, value)
             in enumerate(own.items())}
    if passes:
        assert list(check_filled('x', own, state)) == list(own)[:filled]
    else:
        with pytest.raises(InputError, match=f'fills {filled} of 100 entries of the backbone'):
            check_filled('x', own, state)


def vit(patch_size, img_size):
    from amt_mm.models import AMTMAEViT
    model = nn.Module()
    model.backbone = AMTMAEViT(img_size=img_size, patch_size=patch_size, arch=dict(
        embed_dims=12, num_layers=4, num_heads=3, feedforward_channels=24))
    return model


def test_another_patch_size_is_refused_though_nearly_all_entries_fit(tmp_path):
    path = save(tmp_path / 'p8.pth', vit(8, 32).state_dict())
    with pytest.raises(InputError, match='patch size.*patch_embed.projection.weight'):
        load_backbone(vit(4, 16), path)


def test_positions_are_resized_to_another_image_size(tmp_path):
    source, target = vit(8, 32), vit(8, 64)
    nn.init.constant_(source.backbone.pos_embed, 3.)
    load_backbone(target, save(tmp_path / 'small.pth', source.state_dict()))
    assert target.backbone.pos_embed.shape == (1, 65, 12)
    assert torch.allclose(target.backbone.pos_embed, torch.tensor(3.))
