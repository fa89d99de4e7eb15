"""gallery: pictures of a trained run, also with masks that depend on training progress."""

import numpy as np
import pytest
import torch

from amt_mm import shipped
from amt_mm.apis import comparison, judging
from amt_mm.saliency import SaliencyWriter
from amt_mm.visualization.gallery import gallery

CONFIG = 'quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py'
OPTIONS = {'model.backbone.arch.embed_dims': 24, 'model.backbone.arch.num_layers': 1,
           'model.neck.decoder_embed_dim': 16, 'model.neck.decoder_depth': 1,
           'model.neck.decoder_num_heads': 2, 'train_dataloader.dataset.num_samples': 7}
MASKS = 'data_preprocessor.mask_generator.'


@pytest.fixture
def maps(tmp_path):
    """Two refreshes; the later one is salient in the first patches of the first image only."""
    generator = torch.Generator().manual_seed(0)
    files = []
    for step in (6, 12):
        values = torch.rand(7, 64, generator=generator)
        values[0] = (torch.arange(64) < 28).float()
        files.append(tmp_path / f'epoch_{step}.amtmap')
        writer = SaliencyWriter(files[-1], 7, (8, 8), 'x', step)
        writer.write(torch.arange(7), values)
        writer.commit()
    return files


@pytest.mark.slow
@pytest.mark.parametrize('masks', [{}, {f'{MASKS}type': 'amt_mm.AnnealedMaskGenerator'}])
def test_one_row_per_image_with_the_last_plan(maps, masks):
    cfg = comparison.resolved(str(shipped.configs_folder() / CONFIG), {**OPTIONS, **masks})
    rows = gallery(judging.build_model(cfg), cfg, maps, count=3, seed=1)
    # One of each third of seven scenes; with this seed, the first is the first of all.
    first, second, third = (int(row.name.removeprefix('scene_train_seed0_')) for row in rows)
    assert first == 0 and second in range(2, 4) and third in range(4, 7)
    assert [len(row.saliency) for row in rows] == [2, 2, 2]
    for row in rows:
        assert row.image.shape == row.plan.shape == row.reconstruction.shape
        assert not np.array_equal(row.image, row.plan)
        assert not np.array_equal(row.image, row.reconstruction)
    # Exactly the 28 that are liked are masked, also with guidance that grows: it is the end.
    side = rows[0].image.shape[0] // 8
    painted = (rows[0].image != rows[0].reconstruction).any(axis=2)
    for token in range(28):
        row, column = divmod(token, 8)
        assert painted[row * side:(row + 1) * side, column * side:(column + 1) * side].any()


@pytest.mark.slow
def test_plans_of_released_weights_follow_what_the_run_reads_of_the_maps(tmp_path):
    """The first 2 x 2 cells of each; here only the others differ."""
    maps = torch.rand(2, 7, 8, 8, generator=torch.Generator().manual_seed(0))
    maps[1, :, :2, :2] = maps[0, :, :2, :2]
    cfg = comparison.resolved(str(shipped.configs_folder() / CONFIG), {
        **OPTIONS, 'overlay.data_preprocessor.type': 'amt_mm.ReleasedWeights'})
    model, plans = judging.build_model(cfg), []
    for step, values in enumerate(maps):
        writer = SaliencyWriter(tmp_path / f'epoch_{step}.amtmap', 7, (8, 8), 'x', step)
        writer.write(torch.arange(7), values.flatten(1))
        row, = gallery(model, cfg, [writer.commit()], count=1)
        plans.append(row.plan)
    np.testing.assert_array_equal(*plans)


def test_without_maps_the_plan_is_random(maps):
    cfg = comparison.resolved(str(shipped.configs_folder() / CONFIG), OPTIONS)
    row, = gallery(judging.build_model(cfg), cfg, [], count=1)
    assert row.saliency == []
