import copy
import pickle

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader

from amt_mm.datasets import SceneDataset
from amt_mm.datasets import scenes as scenes_module
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS


def images(dataset):
    return np.stack([dataset.get_data_info(i)['img'] for i in range(len(dataset))])


def masks(dataset):
    return np.stack([dataset.object_mask(i) for i in range(len(dataset))])


@pytest.fixture(scope='module')
def scenes():
    return SceneDataset(600, image_size=48)


@pytest.mark.parametrize('size, shape', [
    (32, (32, 32)),
    ((40, 57), (40, 57)),
    ([64, 32], (64, 32)),
])
def test_one_sample(size, shape):
    dataset = SceneDataset(14, image_size=size, split='val', seed=3)
    info = dataset.get_data_info(13)
    assert info['img'].shape == (*shape, 3) and info['img'].dtype == np.uint8
    assert info['img_shape'] == info['ori_shape'] == shape
    assert info['img_path'] == 'scene_val_seed3_000013'
    assert info['gt_label'] == 3 and info['sample_idx'] == 13
    mask = dataset.object_mask(13)
    assert mask.shape == shape and mask.dtype == bool
    # Only what the class documents.
    assert set(info) == {'img', 'img_shape', 'ori_shape', 'img_path', 'gt_label', 'sample_idx'}


@pytest.mark.slow
def test_scene_depends_on_seed_split_and_index_only():
    first = SceneDataset(8, image_size=32)
    again = SceneDataset(20, image_size=32)
    np.testing.assert_array_equal(images(first), images(again)[:8])
    np.testing.assert_array_equal(masks(first), masks(again)[:8])
    others = [SceneDataset(8, image_size=32, **change)
              for change in ({'seed': 1}, {'split': 'val'}, {'split': 'test'})]
    everything = np.concatenate([images(d) for d in (again, *others)])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)
    paths = {d.get_data_info(0)['img_path'] for d in (first, *others)}
    assert len(paths) == 4


@pytest.mark.slow
def test_equal_scenes_are_painted_once(monkeypatch):
    painted = []
    paint = scenes_module.paint_scene
    monkeypatch.setattr(scenes_module, 'paint_scene', lambda rng, label, *how: (
        painted.append(label), paint(rng, label, *how))[1])
    settings = dict(num_samples=7, image_size=(33, 47), seed=12345)
    first, again = SceneDataset(**settings), SceneDataset(**settings)
    assert len(painted) == 7
    first[0]['img'][:] = 0
    assert again[0]['img'].any() and np.array_equal(first[0]['img'], again[0]['img'])
    for change in (dict(num_samples=6), dict(image_size=(47, 33)), dict(seed=1),
                   dict(split='test'), dict(style='plain')):
        before = len(painted)
        other = SceneDataset(**{**settings, **change})
        assert len(painted) == before + len(other)


def test_classes_are_balanced(scenes):
    assert len(scenes.CLASSES) == len(set(scenes.CLASSES)) == 10
    assert np.bincount(scenes.get_gt_labels()).tolist() == [60] * 10


@pytest.mark.slow
def test_styles_have_classes_of_their_own():
    plain = SceneDataset(11, image_size=32, style='plain')
    assert plain.CLASSES[1] == 'star' and len(set(plain.CLASSES)) == 10
    assert SceneDataset(11, image_size=32).CLASSES[1] == 'checks disc'
    assert not np.array_equal(images(plain), images(SceneDataset(11, image_size=32)))


def test_object_size_and_position(scenes):
    found = masks(scenes)
    area = found.mean(axis=(1, 2))
    assert area.min() >= 0.08 and area.max() <= 0.35
    assert area.std() > 0.05
    rows, columns = np.mgrid[:48, :48]
    centres = np.stack([(found * grid).sum((1, 2)) / found.sum((1, 2)) for grid in (rows, columns)])
    assert centres.std(axis=1).min() > 4
    assert np.abs(centres.mean(axis=1) - 23.5).max() < 1
    # Completely inside: the outermost rows and columns are background.
    assert not (found[:, [0, -1]].any() or found[:, :, [0, -1]].any())


@pytest.mark.slow
@pytest.mark.parametrize('style', ['cluttered', 'plain'])
def test_colour_does_not_reveal_the_class(style):
    """Chance is 1 in 10; with 300 test scenes four standard deviations reach .17."""
    scenes = SceneDataset(600, image_size=48, style=style)
    pixels = images(scenes).reshape(600, -1, 3)
    features = np.hstack([pixels.mean(1), pixels.std(1)]) / 64
    labels = scenes.get_gt_labels()
    probe = LogisticRegression(max_iter=500).fit(features[:300], labels[:300])
    assert probe.score(features[300:], labels[300:]) < 0.17


def test_samples_do_not_share_memory(scenes):
    before = scenes.get_data_info(5)['img'].copy()
    scenes.get_data_info(5)['img'][:] = 0
    np.testing.assert_array_equal(scenes.get_data_info(5)['img'], before)


def test_subsets_copies_and_serialisation(scenes):
    subset = scenes.get_subset([7, 599, 3])
    assert len(subset) == 3
    assert subset._painted is scenes._painted
    for position, index in enumerate([7, 599, 3]):
        info, whole = subset.get_data_info(position), scenes.get_data_info(index)
        assert info['sample_idx'] == position and info['img_path'] == whole['img_path']
        np.testing.assert_array_equal(info['img'], whole['img'])
        np.testing.assert_array_equal(subset.object_mask(position), scenes.object_mask(index))
    chosen = SceneDataset(10, image_size=48, indices=[9, 2], serialize_data=False)
    assert chosen.get_data_info(0)['img_path'] == 'scene_train_seed0_000009'
    np.testing.assert_array_equal(chosen.object_mask(1), scenes.object_mask(2))
    view = copy.copy(scenes)
    view.pipeline = lambda info: info['gt_label']
    assert view[13] == 3 and isinstance(scenes[13], dict)


def keep(info):
    return {key: info[key] for key in ('img', 'gt_label', 'sample_idx')}


def test_loader_workers():
    dataset = SceneDataset(10, image_size=32, pipeline=[keep])
    # Spawned workers receive the data set by pickle.
    dataset = pickle.loads(pickle.dumps(dataset))
    batches = list(DataLoader(dataset, 4, num_workers=2))
    assert [len(batch['img']) for batch in batches] == [4, 4, 2]
    loaded = np.concatenate([batch['img'].numpy() for batch in batches])
    np.testing.assert_array_equal(loaded, images(SceneDataset(10, image_size=32)))


def test_builds_lazily_from_config():
    dataset = DATASETS.build({'type': 'amt_mm.SceneDataset', 'num_samples': 3, 'image_size': 32,
                              'lazy_init': True})
    assert not dataset._fully_initialized
    assert dataset.object_mask(2).any()
    assert "train, seed 0, (32, 32) pixels" in repr(dataset)


@pytest.mark.parametrize('arguments, field', [
    ({'image_size': 31}, 'image_size=31'),
    ({'image_size': (40, 81)}, 'image_size='),
    ({'split': 'dev'}, 'split='),
    ({'num_samples': 0}, 'num_samples=0'),
    ({'seed': -1}, 'seed=-1'),
    ({'style': 'baroque'}, "style='baroque'"),
])
def test_arguments_out_of_range(arguments, field):
    with pytest.raises(InputError, match=field) as error:
        SceneDataset(**{'num_samples': 2, **arguments})
    assert '\n' not in str(error.value)
