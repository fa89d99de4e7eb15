"""The notebooks run from top to bottom, and show what they say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from amt_mm.saliency import SaliencyWriter

NOTEBOOKS = Path(__file__).parents[2] / 'examples/notebooks'


def code_of(name):
    return [cell for cell in json.loads((NOTEBOOKS / name).read_text())['cells']
            if cell['cell_type'] == 'code']


def run(name, **parameters):
    """Run the cells of a notebook with other parameters; return its names."""
    names = {}
    for number, cell in enumerate(code_of(name)):
        exec(compile(''.join(cell['source']), f'{name}, cell {number}', 'exec'), names)
        if cell['metadata'].get('tags') == ['parameters']:
            assert parameters.keys() <= names.keys()
            names.update(parameters)
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four images of one class and three of another."""
    monkeypatch.setenv('MPLBACKEND', 'agg')
    chance = np.random.default_rng(0)
    for kind, count in (('one', 4), ('two', 3)):
        (tmp_path / 'images' / kind).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(tmp_path / 'images' / kind / f'{i}.png'),
                        chance.integers(0, 255, (61, 53, 3), np.uint8))
    return tmp_path / 'images'


@pytest.mark.parametrize('file', sorted(NOTEBOOKS.iterdir()), ids=lambda file: file.name)
def test_no_output_is_stored(file):
    cells = code_of(file.name)
    assert len(cells) > 3 and not any(cell['outputs'] or cell['execution_count'] for cell in cells)


@pytest.mark.slow
def test_maps(checkpoint, folder, tmp_path, capsys):
    maps = torch.rand(2, 3, 35, generator=torch.Generator().manual_seed(0))
    for step, some in zip((40, 400), maps, strict=True):
        writer = SaliencyWriter(tmp_path / f'saliency/epoch_{step}.amtmap', 3, (5, 7), 'f', step)
        writer.write(torch.arange(3), some)
        writer.commit()
    names = run('maps.ipynb', CHECKPOINT=checkpoint, FOLDER=folder, IMAGES=3)
    vit, inputs = names['vit'].eval() or names['vit'], names['inputs']
    entering = []
    with torch.no_grad():
        handle = vit.layers[1].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
        vit(inputs)
        handle.remove()
        query, key, _ = vit.layers[1].attn.qkv(vit.layers[1].ln1(entering[0])).reshape(
            3, 26, 3, 3, 8).permute(2, 0, 3, 1, 4)
        wanted = (query @ key.mT / 8 ** .5).softmax(-1)[:, :, 0, 1:].mean(1)
    torch.testing.assert_close(names['maps'][:, 1], wanted, rtol=1e-4, atol=1e-6)
    assert len(names['figure'].axes) == 3 * (1 + 2)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in said[-4:]] == [
        'block 0', 'block 1', 'step 40', 'step 400']
    assert said[-3].endswith('agreement with the last 1.00')
    ranks = maps.argsort().argsort().double()
    agreement = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)])
    # Stored in fp16, where two ranks may tie.
    assert float(said[-1].split()[-1]) == pytest.approx(agreement, abs=.011)


@pytest.mark.slow
def test_masks(folder, capsys):
    down, across = np.mgrid[:240, :320] / 240
    photograph = folder / 'ramp.png'
    cv2.imwrite(str(photograph), (60 * np.stack([down + 2 * across] * 3, -1)).astype(np.uint8))
    names = run('masks.ipynb', MODEL='vit_tiny_patch16_224', PRETRAINED=False,
                PHOTOGRAPH=str(photograph))
    assert capsys.readouterr().out == (
        '196 patches: 88 masked, 78 thrown, 30 encoded, with [CLS] 31 tokens\n')
    assert [plan.masked.shape[1] for plan in names['plans'].values()] == [88, 147, 147, 78]
    # The least attended are masked: the rest has the largest weights.
    least = names['plans']['the least attended, 75 %']
    kept, masked = (names['weights'].gather(1, ids) for ids in (least.visible, least.masked))
    assert kept.mean() > masked.mean()
    # A map of how light the pixels are is cut as they are.
    light, cut = (F.avg_pool2d(names[name].mean(1) + 3, 16) for name in ('images', 'crops'))
    torch.testing.assert_close(names['resample'](light, names['box'], (14, 14)), cut.flatten(1),
                               rtol=0, atol=.02)


@pytest.mark.slow
def test_neighbours(checkpoint, folder, tmp_path, capsys):
    file = tmp_path / 'features.npz'
    names = run('neighbours.ipynb', CHECKPOINT=checkpoint, FOLDER=folder, FEATURES=file,
                NEIGHBOURS=3)
    with np.load(file) as content:
        features, files = content['features'], content['names']
    order = NearestNeighbors(n_neighbors=4, metric='cosine').fit(features).kneighbors(
        features, return_distance=False)[:, 1:]
    assert names['order'].tolist() == order.tolist()
    kinds = [name.split('/')[0] for name in files]
    same = sum(kinds[first] == kind for first, kind in zip(order[:, 0], kinds, strict=True))
    # By chance: of 42 pairs, 4 x 3 + 3 x 2 are of one class.
    assert capsys.readouterr().out.endswith(
        f'2 classes: {100 * same / 7:.1f} % of the nearest neighbours, 42.9 % by chance\n')
    assert len(names['figure'].axes) == 5 * (1 + 3)
