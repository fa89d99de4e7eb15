"""few_labels: counts by class, nested shares, lists of names, faults in one line."""

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from true_formats import noise, write_cifar

from amt_mm.config import apply_overlay
from amt_mm.datasets import few_labels, pack
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS
from amt_mm.shipped import configs_folder

SIZES = {'a': 31, 'b': 14, 'c': 3}


@pytest.fixture
def config(tmp_path):
    for name, count in SIZES.items():
        (tmp_path / name).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / name / f'{name}{i}.png'), np.zeros((5, 7, 3), np.uint8))
    return dict(type='amt_mm.ImageFolder', data_root=str(tmp_path), with_label=True)


def paths(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_each_class_gives_its_share_and_at_least_one(config):
    for share, wanted in ((.1, {0: 3, 1: 1, 2: 1}), (.5, {0: 16, 1: 7, 2: 2}),
                          (1, {0: 31, 1: 14, 2: 3})):
        dataset = few_labels(config, share=share)
        assert Counter(dataset.get_gt_labels().tolist()) == wanted
        assert [dataset[i]['sample_idx'] for i in range(len(dataset))] == list(range(len(dataset)))
        assert dataset.metainfo['classes'] == ('a', 'b', 'c')


@pytest.mark.slow
def test_shares_are_nested_and_drawn_by_the_seed(config, tmp_path):
    small, large, other = (paths(few_labels(config, share=share, seed=seed))
                           for share, seed in ((.1, 0), (.5, 0), (.5, 1)))
    assert set(small) < set(large) and large != other
    assert paths(few_labels(config, share=.5)) == large
    assert large != sorted(paths(few_labels(config, share=1)))[:len(large)]
    # Another image of c draws no others of a and b.
    cv2.imwrite(str(tmp_path / 'c' / 'c9.png'), np.zeros((5, 7, 3), np.uint8))
    assert [path for path in paths(few_labels(config, share=.5)) if '/c/' not in path] == [
        path for path in large if '/c/' not in path]


def test_a_list_names_files_with_or_without_their_folder(config, tmp_path):
    names = tmp_path / '1percent.txt'
    names.write_text('b3.png\n\na/a12.png\nb3.png\n')
    assert paths(few_labels(config, names=str(names))) == [
        str(tmp_path / 'a' / 'a12.png'), str(tmp_path / 'b' / 'b3.png')]


def test_a_list_from_windows_and_names_of_any_bytes(config, tmp_path):
    odd = os.fsencode(tmp_path / 'b') + b'/\xe9.png'
    os.rename(tmp_path / 'b' / 'b3.png', odd)
    (tmp_path / 'few.txt').write_bytes(b'\xef\xbb\xbfa12.png\r\n\xe9.png\r\n')
    assert paths(few_labels(config, names=str(tmp_path / 'few.txt'))) == [
        str(tmp_path / 'a' / 'a12.png'), os.fsdecode(odd)]


@pytest.mark.parametrize(('text', 'message'), [
    ('b3.png\nz.png\n', 'few.txt: z.png is the name of 0 images of'), ('', 'names no image'),
    ('same.png', 'same.png is the name of 2 images')])
def test_names_must_fit_one_image(config, tmp_path, text, message):
    for name in 'ab':
        cv2.imwrite(str(tmp_path / name / 'same.png'), np.zeros((5, 7, 3), np.uint8))
    (tmp_path / 'few.txt').write_text(text)
    with pytest.raises(InputError, match=message):
        few_labels(config, names=str(tmp_path / 'few.txt'))


def test_impossible_settings_are_refused(config, tmp_path):
    for settings, message in ((dict(), 'either share'), (dict(share=.1, names='a'), 'either share'),
                              (dict(share=0), 'above 0'), (dict(share=1.5), 'at most 1'),
                              (dict(names='nowhere.txt'), 'nowhere.txt: cannot be read .No such')):
        with pytest.raises(InputError, match=message):
            few_labels(config, **settings)
    with pytest.raises(InputError, match='a0.png: has no class label'):
        few_labels({**config, 'with_label': False}, share=.1)
    pack(DATASETS.build(config), tmp_path / 'a.amtpack')
    for other in (dict(type='amt_mm.ConcatDataset', datasets=[config, config]),
                  dict(type='amt_mm.PackedImages', path=str(tmp_path / 'a.amtpack'))):
        with pytest.raises(InputError, match=f'lists its images, .* {other["type"][7:]} is none'):
            few_labels(other, share=.1)


def test_images_in_memory_have_no_names(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, noise(2, 32), [0, 1], 'train')
    (tmp_path / 'few.txt').write_text('a.png\n')
    with pytest.raises(InputError, match='few.txt: images of this data set have no names'):
        few_labels(dict(type='amt_mm.CIFAR10', data_root=str(tmp_path)),
                   names=str(tmp_path / 'few.txt'))


@pytest.mark.parametrize(('name', 'share'), [('1percent', .01), ('10percent', .1)])
def test_the_protocols_take_labels_of_training_images_only(name, share):
    file = f'benchmarks/finetune/vit-base-p16_8xb128-{name}-coslr-100e_folder.py'
    cfg = Config.fromfile(configs_folder() / file)
    cfg.merge_from_dict({'overlay.image_size': 64})
    cfg = apply_overlay(cfg)
    train = cfg.train_dataloader.dataset
    assert (train.type, train.share, train.names) == ('amt_mm.few_labels', share, None)
    assert (train.dataset.split, train.dataset.pipeline[1].scale) == ('train', 64)
    assert cfg.val_dataloader.dataset.type == 'amt_mm.ImageFolder'
    assert cfg.val_dataloader.dataset.split == 'val'


def test_classes_of_one_size_draw_different_places(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        for number in range(20):
            cv2.imwrite(str(tmp_path / name / f'{number:02}.png'), np.zeros((5, 7, 3), np.uint8))
    kept = paths(few_labels(dict(type='amt_mm.ImageFolder', data_root=str(tmp_path),
                                 with_label=True), share=.5))
    one, two = ({Path(path).name for path in kept if f'/{name}/' in path} for name in 'ab')
    assert len(one) == len(two) == 10 and one != two
