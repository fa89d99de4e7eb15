"""Flowers102 on the published layout, with lists written by scipy; the recipe of its protocol."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.registry import DATA_SAMPLERS
from scipy.io import savemat

from amt_mm.apis.evaluation import adapt_config, find_config
from amt_mm.checkpoints.describe import Pretraining
from amt_mm.datasets import Flowers102
from amt_mm.errors import InputError
from amt_mm.shipped import configs_folder

LABELS = [3, 1, 102, 1, 3, 2, 7]
PARTS = {'trnid': [4, 1], 'valid': [7, 6], 'tstid': [2, 5, 3]}


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'jpg').mkdir()
    for number in range(1, 8):
        cv2.imwrite(str(tmp_path / 'jpg' / f'image_{number:05}.jpg'), np.zeros((5, 7, 3), np.uint8))
    savemat(tmp_path / 'imagelabels.mat', {'labels': np.array([LABELS], np.uint8)},
            do_compression=True)
    savemat(tmp_path / 'setid.mat', {name: np.array([ids], np.uint16)
                                     for name, ids in PARTS.items()}, do_compression=True)
    return tmp_path


@pytest.mark.parametrize(('split', 'ids'), [
    ('trainval', [4, 1, 7, 6]), ('train', [4, 1]), ('test', [2, 5, 3])])
def test_images_and_labels_of_a_split(root, split, ids):
    dataset = Flowers102(data_root=str(root), split=split)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(info['img_path'], info['gt_label']) for info in infos] == [
        (str(root / 'jpg' / f'image_{number:05}.jpg'), LABELS[number - 1] - 1) for number in ids]


def test_faults_are_one_line(root):
    with pytest.raises(InputError, match="split='all' is unknown; use one of 'train'"):
        Flowers102(data_root=str(root), split='all')
    (root / 'jpg' / 'image_00005.jpg').unlink()
    with pytest.raises(InputError, match='image_00005.jpg: does not exist .1 of 3 images'):
        Flowers102(data_root=str(root), split='test')
    (root / 'setid.mat').write_bytes(b'no matrix')
    with pytest.raises(InputError, match='setid.mat: are not the files of https.*flowers/102'):
        Flowers102(data_root=str(root))
    (root / 'setid.mat').unlink()
    with pytest.raises(InputError, match='setid.mat: does not exist; put 102flowers.tgz'):
        Flowers102(data_root=str(root))


def test_the_recipe_shows_each_image_three_times(root):
    pretraining = Pretraining(None, None, {}, None)
    config, options = find_config('finetune-deit', 'flowers102', pretraining)
    cfg = adapt_config(config, pretraining, options)
    assert (cfg.train_dataloader.dataset.type, cfg.model.head.num_classes) == (
        'amt_mm.Flowers102', 102)
    assert (cfg.train_dataloader.dataset.split, cfg.val_dataloader.dataset.split) == (
        'trainval', 'test')
    dataset = list(range(30))
    sampler = DATA_SAMPLERS.build({**cfg.train_dataloader.sampler, 'dataset': dataset, 'seed': 0})
    seen = list(sampler)
    assert len(seen) == 30 and len(set(seen)) == 10


def test_the_recipe_is_that_of_the_published_command():
    cfg = Config.fromfile(configs_folder() / '_base_/protocols/finetune_deit.py')
    # 6 processes x 150 images, --lr 7.5e-6, which DeiT's code gives per 512 images.
    assert cfg.optim_wrapper.optimizer.lr * 512 / cfg.auto_scale_lr.base_batch_size == (
        pytest.approx(7.5e-6))
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.start_factor * cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-6)
    assert (warm_up.end, cosine.end) == (5, cfg.train_cfg.max_epochs)
    # A share, so that it stays below the rate of fewer processes.
    assert cosine.eta_min_ratio * cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-5)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 1
