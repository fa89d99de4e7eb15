"""RobustnessTestLoop: every measure by scikit-learn on images changed pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from labelled_toys import VIT, LabelledImages, test_runner
from mmengine.runner import Runner
from sklearn.neighbors import KNeighborsClassifier

from amt_mm.errors import InputError
from amt_mm.evaluation import robustness_loop
from amt_mm.saliency import cls_attention

# 7 classes; images of 40 x 56 pixels have 5 x 7 patches.
TRAIN = [i * 5 % 7 for i in range(61)]
TEST = [i * 3 % 7 for i in range(33)]
RATIOS, GRIDS = (.3, .62), (2, 8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(name='run', model=VIT, **loop):
        return test_runner(
            tmp_path / name,
            {**dict(type='amt_mm.RobustnessTestLoop', ratios=RATIOS, grids=GRIDS, k=6), **loop},
            LabelledImages(TRAIN), LabelledImages(TEST, seed=1), f'{tmp_path.name}-{name}',
            model=model)

    return make


@torch.no_grad()
def feature(model, raw):
    """[CLS] of one image ``(3, 40, 56)`` of 0 to 255, normalised to length 1."""
    image = (raw.float() - model.data_preprocessor.mean) / model.data_preprocessor.std
    token = model.backbone(image[None])[-1][0, 0].double()
    return (token / token.norm()).numpy()


@torch.no_grad()
def scores(model, raw):
    """[CLS] row of the last block, mean over heads, from the definition."""
    image = (raw.float() - model.data_preprocessor.mean) / model.data_preprocessor.std
    kept, attn = [], model.backbone.layers[-1].attn
    handle = attn.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
    model.backbone(image[None])
    handle.remove()
    q, k, _ = (kept[0] @ attn.qkv.weight.T + attn.qkv.bias).unflatten(1, (3, 3, 8)).unbind(1)
    rows = [(k[:, head] @ q[0, head] / math.sqrt(8)).softmax(0)[1:] for head in range(3)]
    return torch.stack(rows).mean(0)


def painted(model, raw, name, ratio, place):
    ranks = {'salient': lambda: scores(model, raw).argsort(descending=True),
             'nonsalient': lambda: scores(model, raw).argsort(),
             'random': lambda: np.random.default_rng([5, place]).permutation(35)}[name]()
    raw = raw.clone()
    for patch in ranks[:math.floor(35 * ratio)].tolist():
        raw[:, patch // 7 * 8:, patch % 7 * 8:][:, :8, :8] = 0
    return raw


def shuffled(raw, grid, place):
    """By columns of tiles in numpy."""
    height, width = 40 // grid, 56 // grid
    tiles = [raw[:, y:y + height, x:x + width].numpy()
             for y in range(0, 40, height) for x in range(0, 56, width)]
    order = np.random.default_rng([5, place]).permutation(grid * grid)
    rows = [np.concatenate([tiles[i] for i in row], axis=2) for row in np.split(order, grid)]
    return torch.from_numpy(np.concatenate(rows, axis=1))


def test_every_measure_agrees_with_changes_by_hand(run):
    runner = run(seed=5)
    for parameter in runner.model.parameters():  # patches matter more than by default
        torch.nn.init.normal_(parameter, std=.2)
    metrics = runner.test()
    model = runner.model.eval()
    train, test = runner.test_loop.train_dataloader.dataset, runner.test_dataloader.dataset
    oracle = KNeighborsClassifier(6, metric='cosine', algorithm='brute',
                                  weights=lambda d: np.exp((1 - d) / .07))
    oracle.fit(np.stack([feature(model, train[i]['inputs']) for i in range(len(TRAIN))]), TRAIN)

    def accuracy(change):
        found = [feature(model, change(test[i]['inputs'], i)) for i in range(len(TEST))]
        return pytest.approx(100 * np.mean(oracle.predict(np.stack(found)) == TEST))

    wanted = {'robustness/top1': accuracy(lambda raw, i: raw)}
    for name in ('random', 'salient', 'nonsalient'):
        for ratio, percent in zip(RATIOS, (30, 62), strict=True):
            wanted[f'robustness/{name}_{percent}'] = accuracy(
                lambda raw, i, name=name, ratio=ratio: painted(model, raw, name, ratio, i))
    for grid in GRIDS:
        wanted[f'robustness/shuffle_{grid}x{grid}'] = accuracy(
            lambda raw, i, grid=grid: shuffled(raw, grid, i))
    assert metrics == wanted
    # The changes matter, or nothing would be compared.
    assert len({round(value, 6) for value in metrics.values()}) > 4


def test_salient_patches_are_those_of_a_guide(run, monkeypatch):
    """The encoder itself as a guide, mirrored: its salient patches are the others then."""
    def mirrored(vit, images, guide):
        assert guide == 'loaded'
        return -cls_attention(vit, images).mean(dim=1)

    own = run(ratios=[.3])
    metrics = own.test()
    monkeypatch.setattr(robustness_loop, 'load_guide', lambda path, vit: 'loaded')
    monkeypatch.setattr(robustness_loop, 'attention_to_patches', mirrored)
    guided = run('guided', ratios=[.3], guide='other.pth')
    guided.model.load_state_dict(own.model.state_dict())
    found = guided.test()
    assert found['robustness/salient_30'] == metrics['robustness/nonsalient_30']
    assert found['robustness/nonsalient_30'] == metrics['robustness/salient_30']
    assert found['robustness/random_30'] == metrics['robustness/random_30']


def test_attention_is_computed_once_for_each_image(run, monkeypatch):
    seen = []
    monkeypatch.setattr(robustness_loop, 'attention_to_patches', lambda vit, images, guide:
                        seen.append(len(images)) or torch.rand(len(images), 35))
    run().test()
    assert sum(seen) == len(TEST)


def test_with_a_guide_the_encoder_needs_no_cls(run, monkeypatch):
    monkeypatch.setattr(robustness_loop, 'load_guide', lambda path, vit: 'loaded')
    monkeypatch.setattr(robustness_loop, 'attention_to_patches',
                        lambda vit, images, guide: torch.rand(len(images), 35))
    runner = run(guide='other.pth', model={
        **VIT, 'backbone': {**VIT['backbone'], 'with_cls_token': False}})
    assert 'robustness/salient_30' in runner.test()


def test_changes_do_not_depend_on_batches_or_on_the_seed_of_the_run(run):
    first, other = run(), run('other')
    other._test_dataloader['batch_size'] = 7
    other._randomness_cfg = dict(seed=9)
    other.model.load_state_dict(first.model.state_dict())
    assert first.test() == other.test()


def test_without_cls_only_random_patches_are_painted(run):
    runner = run(model={**VIT, 'backbone': {**VIT['backbone'], 'with_cls_token': False}})
    assert set(runner.test()) == {f'robustness/{name}' for name in (
        'top1', 'random_30', 'random_62', 'shuffle_2x2', 'shuffle_8x8')}


@pytest.mark.parametrize(('loop', 'message'), [
    (dict(ratios=[.5, 1.5]), 'test_cfg.ratios=.*each from 0 to 1'),
    (dict(grids=[0]), 'test_cfg.grids=.*1 or more'), (dict(k=0), 'k=0: all must be 1 or more'),
    (dict(grids=[2, 3]), '40x56 pixels do not divide into 3x3 tiles')])
def test_impossible_settings_are_refused_before_encoding(run, loop, message):
    with pytest.raises(InputError, match=message):
        run(**loop).test_loop  # noqa: B018  (builds the loop)
