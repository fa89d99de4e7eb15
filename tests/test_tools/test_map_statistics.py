"""map_statistics: each number against a case whose answer is known, or scipy's."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from load_script import load_script
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from amt_mm.datasets import SceneDataset, dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator
from amt_mm.saliency import SaliencyWriter

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/map_statistics.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


def test_border_share(tool):
    even = torch.ones(3, 5, 7)
    share, cells = tool.border_share(even)
    assert share == pytest.approx(20 / 35) and cells == pytest.approx(20 / 35)
    middle = torch.zeros(3, 5, 7)
    middle[:, 2, 3] = 1
    assert tool.border_share(middle)[0] == 0


def test_explained_by_position(tool):
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(1, 5, 7, generator=generator).expand(50, -1, -1)
    assert tool.explained_by_position(same) == pytest.approx(1)
    assert tool.explained_by_position(torch.rand(500, 5, 7, generator=generator)) < .01


def test_agreement_is_the_mean_rank_correlation(tool):
    generator = torch.Generator().manual_seed(0)
    maps, others = torch.rand(2, 9, 5, 7, generator=generator)
    wanted = [spearmanr(a.flatten(), b.flatten()).statistic
              for a, b in zip(maps, others, strict=True)]
    assert tool.agreement(maps, others) == pytest.approx(sum(wanted) / 9, abs=1e-5)


def test_agreement_of_maps_of_two_grids(tool):
    """A slope across the image ranks columns alike on any grid."""
    slopes = [torch.linspace(0, 1, n).expand(3, 4, n) for n in (7, 5)]
    assert tool.agreement(*slopes) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('grid', [(5, 7), (8, 8)])
def test_overlap_of_the_top_quarters(tool, grid):
    maps, others = torch.rand(2, 300, *grid, generator=torch.Generator().manual_seed(1))
    k = round(grid[0] * grid[1] / 4)
    wanted = []
    for a, b in zip(maps.flatten(1).tolist(), others.flatten(1).tolist(), strict=True):
        a, b = (set(sorted(range(len(row)), key=lambda i: -row[i])[:k]) for row in (a, b))
        wanted.append(len(a & b) / len(a | b))
    found = tool.overlap(maps, others)
    assert found == pytest.approx(sum(wanted) / 300)
    assert found == pytest.approx(.14, abs=.02), 'what the column calls chance'
    assert tool.overlap(maps, maps) == 1
    assert tool.overlap(maps, 1 - maps) == 0
    maps[7:] = 0  # no preference, no part in the mean
    assert tool.overlap(maps, others) == pytest.approx(sum(wanted[:7]) / 7)


def test_overlap_of_maps_of_two_grids(tool):
    slopes = [torch.linspace(0, 1, n).expand(3, 4, n) for n in (8, 16)]
    assert tool.overlap(*slopes) == 1


def test_visible_frequency(tool):
    even = tool.visible_frequency(torch.ones(40, 5, 7), AMTMaskGenerator(), draws=100)
    # 35 tokens: 15 masked, 14 thrown, 6 visible.
    assert even.mean() == pytest.approx(6 / 35)
    assert (even - 6 / 35).abs().max() < .2
    peaked = torch.full((4, 5, 7), .01)
    peaked[:, 0, 0] = 1
    assert tool.visible_frequency(peaked, AMTMaskGenerator(), draws=100)[:, 0].max() < .05


def test_the_table(tool, tmp_path, monkeypatch, capsys):
    for step in (9, 30):
        writer = SaliencyWriter(tmp_path / f'epoch_{step}.amtmap', 6, (5, 7), 'x', step)
        writer.write(torch.arange(6), torch.rand(6, 35))
        writer.commit()
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--draws', '5'])
    tool.main()
    rows = json.loads((tmp_path / 'statistics.json').read_text())['rows']
    assert [row['step'] for row in rows] == [9, 30]
    assert rows[0]['agreement'] is None and abs(rows[1]['agreement']) < 1
    assert '| 30' in capsys.readouterr().out
    with Image.open(tmp_path / 'statistics.png') as picture:
        assert picture.width > picture.height > 200
    assert 'refresh at 30' in (tmp_path / 'statistics.svg').read_text()


def test_maps_of_two_data_sets_are_not_compared(tool, tmp_path, monkeypatch):
    for step, identity in ((9, 'x'), (30, 'y')):
        writer = SaliencyWriter(tmp_path / f'epoch_{step}.amtmap', 6, (5, 7), identity, step)
        writer.write(torch.arange(6), torch.rand(6, 35))
        writer.commit()
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--draws', '1'])
    with pytest.raises(InputError, match='epoch_30.amtmap: these maps belong to another data set'):
        tool.main()


def test_the_picture_has_the_mean_maps_on_one_scale(tool):
    means = {8: torch.rand(5, 7), 16: 2 * torch.rand(5, 7)}
    panels = tool.mean_maps_figure(means).axes[:2]
    for axes, mean in zip(panels, means.values(), strict=True):
        image, = axes.images
        assert torch.equal(torch.as_tensor(image.get_array().data), mean)
        assert image.get_clim() == (0, pytest.approx(float(max(m.max() for m in means.values()))))


SCENES = '''
train_dataloader = dict(dataset=dict(
    type='amt_mm.SceneDataset', num_samples=6, image_size=(40, 56), pipeline=[]))
'''


@pytest.mark.slow
def test_maps_of_scenes_are_held_against_their_masks(tool, tmp_path, monkeypatch):
    config = tmp_path / 'config.py'
    config.write_text(SCENES)
    scenes = SceneDataset(num_samples=6, image_size=(40, 56), pipeline=[])
    inside = torch.stack([torch.from_numpy(scenes.object_mask(i)) for i in range(6)]).float()
    inside = inside.reshape(6, 5, 8, 7, 8).mean(dim=(2, 4))
    generator = torch.Generator().manual_seed(0)
    kinds = {1: inside, 2: 1 - inside, 3: torch.rand(6, 5, 7, generator=generator)}
    for step, maps in kinds.items():
        writer = SaliencyWriter(tmp_path / f'epoch_{step}.amtmap', 6, (5, 7),
                                dataset_fingerprint(scenes), step)
        writer.write(torch.arange(6), maps.flatten(1))
        writer.commit()
    command = ['map_statistics.py', str(tmp_path), '--draws', '2', '--config', str(config)]
    monkeypatch.setattr(sys, 'argv', command)
    tool.main()
    rows = json.loads((tmp_path / 'statistics.json').read_text())['rows']
    found = [row['object'] for row in rows]
    # roc_auc_score with shares of cells: each cell counts as object and as background in part.
    def auroc(maps):
        return np.mean([roc_auc_score([1] * 35 + [0] * 35, [*cells, *cells],
                                      sample_weight=[*share, *(1 - share)])
                        for cells, share in zip(maps.flatten(1).double().numpy(),
                                                inside.flatten(1).double().numpy(), strict=True)])

    assert found == pytest.approx([auroc(maps.half()) for maps in kinds.values()], abs=1e-6)
    means = [maps.half().float().mean(dim=0).expand(6, 5, 7) for maps in kinds.values()]
    assert [row['by_position'] for row in rows] == pytest.approx(list(map(auroc, means)), abs=1e-6)
    assert found[0] > .9 and found[1] < .1
    config.write_text(SCENES.replace('num_samples=6', 'num_samples=7'))
    with pytest.raises(InputError, match=r'epoch_1\.amtmap'):
        tool.main()


@pytest.fixture
def two_images(tmp_path):
    folder = tmp_path / 'images/cat'
    folder.mkdir(parents=True)
    for name in 'ab':
        Image.new('RGB', (9, 9)).save(folder / f'{name}.png')
    config = tmp_path / 'config.py'
    config.write_text("train_dataloader = dict(dataset=dict(type='amt_mm.ImageFolder', "
                      f'pipeline=[], data_root={str(tmp_path / "images")!r}))')
    return config


def test_images_without_masks_are_refused(tool, two_images):
    with pytest.raises(InputError, match='no masks of objects'):
        tool.object_masks(str(two_images))


def test_objects_from_a_file_are_those_above_the_middle(tool, two_images, tmp_path):
    maps = np.random.default_rng(0).integers(3, 250, (3, 6, 5))
    np.savez(tmp_path / 'maps.npz', names=['cat/b.png', 'cat/c.png', 'cat/a.png'], maps=maps)
    masks, _ = tool.object_masks(str(two_images), tmp_path / 'maps.npz')
    wanted = [(one - one.min()) / (one.max() - one.min()) > .5 for one in maps[[2, 0]]]
    assert masks.dtype == torch.bool and masks.tolist() == np.stack(wanted).tolist()


def test_objects_of_other_images_or_sizes_are_refused(tool, two_images, tmp_path):
    np.savez(tmp_path / 'few.npz', names=['cat/a.png'], maps=np.ones((1, 6, 5)))
    with pytest.raises(InputError, match=r'few\.npz: 1 of 2 .* cat/b\.png'):
        tool.object_masks(str(two_images), tmp_path / 'few.npz')
    np.savez(tmp_path / 'sizes.npz', **{'cat/a.png': np.eye(3), 'cat/b.png': np.eye(4)})
    with pytest.raises(InputError, match='all maps of one size'):
        tool.object_masks(str(two_images), tmp_path / 'sizes.npz')


def test_objects_without_a_config_are_refused(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--objects', 'maps.npz'])
    with pytest.raises(InputError, match='--objects needs --config'):
        tool.main()


@pytest.mark.slow
def test_a_softer_ranking_shows_more_patches(tool, tmp_path, monkeypatch):
    writer = SaliencyWriter(tmp_path / 'epoch_9.amtmap', 40, (5, 7), 'x', 9)
    writer.write(torch.arange(40), torch.rand(40, 35)**6)
    writer.commit()
    never = []
    for options in ((), ('--weighting', 'temperature=5', 'uniform=0.5'),
                    ('--weighting', 'by_rank=True', '--hint-ratio', '0.3', '--throw', 'random'),
                    ('--throw', 'low', '--mask', 'random', '--weighting', 'by_rank=True'),
                    ('--visible', 'random')):
        monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--draws', '300',
                                          *options])
        tool.main()
        never.append(json.loads((tmp_path / 'statistics.json').read_text())['rows'][0]['never'])
    assert never[0] > .1 > max(never[1:])


def test_an_unknown_setting_is_one_line(tool, tmp_path, monkeypatch):
    writer = SaliencyWriter(tmp_path / 'epoch_9.amtmap', 1, (5, 7), 'x', 9)
    writer.write(torch.arange(1), torch.rand(1, 35))
    writer.commit()
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--weighting', 'soft=1'])
    with pytest.raises(InputError, match='weighting.soft is unknown'):
        tool.main()


def test_the_folder_behind_an_open_list_is_a_usage_error(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', '--weighting', 'by_rank=True',
                                      str(tmp_path)])
    with pytest.raises(SystemExit, match='2'):
        tool.main()
    said = capsys.readouterr().err
    assert 'usage:' in said and 'Traceback' not in said and str(tmp_path) in said.splitlines()[-1]
