import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset, default_collate
from mmpretrain.datasets import CustomDataset
from torch.utils.data import DataLoader

from amt_mm.datasets import ConcatDataset, dataset_fingerprint, whole_image, whole_image_view
from amt_mm.datasets.whole_image import _inside
from amt_mm.errors import InputError
from amt_mm.saliency import fingerprint

CROP = dict(type='amt_mm.RandomResizedCropWithBox', scale=(16, 24), crop_ratio_range=(.2, 1.))
FLIP = dict(type='RandomFlip', prob=.5)
PACK = dict(type='amt_mm.PackInputsWithBox')
PIPELINE = [dict(type='LoadImageFromFile'), CROP, FLIP, PACK]


def paint(folder, greys, size=(20, 30)):
    """Flat images whose grey identifies them."""
    for grey in greys:
        path = folder / f'{grey:03d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((*size, 3), grey, np.uint8))
    return folder


def custom(folder, pipeline=PIPELINE, **kwargs):
    # Serialising collects garbage, which dominates the duration.
    return CustomDataset(data_root=str(folder), with_label=False, pipeline=pipeline,
                         serialize_data=False, **kwargs)


def grey(data):
    values = data['inputs'].unique()
    assert len(values) == 1
    return int(values)


def test_every_image_once_in_order_and_whole(tmp_path):
    dataset = custom(paint(tmp_path, [9, 5, 200, 77]))
    view = whole_image_view(dataset)
    assert len(view) == 4
    for index, wanted in enumerate([5, 9, 77, 200]):
        data = view[index]
        assert data['inputs'].shape == (3, 16, 24)
        assert data['data_samples'].sample_idx == index
        assert grey(data) == wanted


@pytest.mark.parametrize(('interpolation', 'flag'), [('bilinear', cv2.INTER_LINEAR),
                                                     ('bicubic', cv2.INTER_CUBIC)])
@pytest.mark.parametrize(('scale', 'wanted'), [(16, (16, 16)), ((16, 24), (16, 24)),
                                               ((40, 8), (40, 8))])
def test_pixels_are_the_whole_image_resized(tmp_path, scale, wanted, interpolation, flag):
    image = np.random.default_rng(0).integers(0, 256, (21, 33, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    crop = dict(CROP, scale=scale, interpolation=interpolation)
    dataset = custom(tmp_path, [dict(type='LoadImageFromFile'), crop, FLIP, PACK])
    view = whole_image_view(dataset)
    found = view[0]['inputs'].permute(1, 2, 0).numpy()
    height, width = wanted
    np.testing.assert_array_equal(found, cv2.resize(image, (width, height), interpolation=flag))
    for _ in range(3):
        assert torch.equal(view[0]['inputs'], view[0]['inputs'])


@pytest.mark.parametrize('joined', [False, True])
def test_another_size_than_the_crops(tmp_path, joined):
    image = np.random.default_rng(0).integers(0, 256, (21, 33, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    dataset = custom(tmp_path)
    view = whole_image_view(ConcatDataset([dataset]) if joined else dataset, (10, 14))
    found = view[0]['inputs'].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, cv2.resize(image, (14, 10)))
    assert dataset[0]['inputs'].shape == (3, 16, 24)


def test_the_training_set_is_unchanged(tmp_path):
    dataset = custom(paint(tmp_path, range(1, 4)))
    before = list(dataset.pipeline.transforms)
    view = whole_image_view(dataset)
    view[0]
    assert dataset.pipeline.transforms == before
    assert dataset.test_mode is False
    assert view.data_list is dataset.data_list, 'the list of samples is shared'
    assert 'crop_box' in dataset[0]['data_samples']
    assert 'crop_box' not in view[0]['data_samples']


def test_transforms_before_the_crop_are_kept(tmp_path):
    # The box of the crop is relative to their result.
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 255
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    cut = dict(type='CenterCrop', crop_size=20)
    dataset = custom(tmp_path, [dict(type='LoadImageFromFile'), cut, CROP, FLIP, PACK])
    assert whole_image_view(dataset)[0]['inputs'].min() == 255


TURN = dict(type='Rotate', angle=90., prob=1.)


@pytest.mark.parametrize('late', [
    TURN, dict(type='RandomApply', transforms=[TURN], prob=.5),
    dict(type='RandomChoice', transforms=[[], [dict(type='ColorTransform', magnitude=.1), TURN]]),
    dict(type='RandomApply', transforms=[dict(type='RandomChoice', transforms=[[TURN], []])])])
def test_finds_transforms_in_wrappers(tmp_path, late):
    dataset = custom(paint(tmp_path, [1]), [PIPELINE[0], CROP, FLIP, late, PACK])
    with pytest.raises(InputError, match='Rotate comes after RandomResizedCropWithBox'):
        whole_image_view(dataset)


TO_PIL, TO_NUMPY = dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', to_bgr=True)


@pytest.mark.parametrize('late', [
    dict(type='torchvision/RandomHorizontalFlip', p=1.),
    dict(type='torchvision/RandomRotation', degrees=90),
    dict(type='torchvision/TrivialAugmentWide')])
def test_torchvision_transforms_that_move_pixels_are_refused(tmp_path, late):
    """Their flips and turns are recorded nowhere, so map and crop would not match."""
    dataset = custom(paint(tmp_path, [1]), [PIPELINE[0], CROP, FLIP, TO_PIL, late, TO_NUMPY, PACK])
    with pytest.raises(InputError, match=f'{late["type"].split("/")[1]} comes after'):
        whole_image_view(dataset)


def test_transforms_that_do_not_declare_their_randomness_are_refused_before_the_crop(tmp_path):
    early = dict(type='torchvision/RandomCrop', size=8)
    dataset = custom(paint(tmp_path, [1]), [PIPELINE[0], TO_PIL, early, TO_NUMPY, *PIPELINE[1:]])
    with pytest.raises(InputError, match='RandomCrop comes before RandomResizedCropWithBox'):
        whole_image_view(dataset)


def test_torchvision_transforms_that_fit_their_place_are_used(tmp_path):
    early = [TO_PIL, dict(type='torchvision/CenterCrop', size=8), TO_NUMPY]
    late = [TO_PIL, dict(type='torchvision/ColorJitter', brightness=.4), TO_NUMPY]
    dataset = custom(paint(tmp_path, [9]), [PIPELINE[0], *early, CROP, FLIP, *late, PACK])
    assert grey(whole_image_view(dataset)[0]) == 9


def test_a_second_flip_is_refused(tmp_path):
    """Samples record their last flip only."""
    colours = dict(type='RandomApply', transforms=[dict(type='ColorTransform', magnitude=.1)])
    whole_image_view(custom(paint(tmp_path, [1]), [PIPELINE[0], CROP, FLIP, colours, PACK]))
    twice = [PIPELINE[0], CROP, FLIP, dict(type='RandomFlip', prob=.5, direction='vertical'), PACK]
    with pytest.raises(InputError, match='flips twice.*use one RandomFlip'):
        whole_image_view(custom(tmp_path, twice))


def test_a_pipeline_without_the_recording_crop_is_refused(tmp_path):
    plain = [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=16), FLIP,
             dict(type='PackInputs')]
    dataset = custom(paint(tmp_path, [1]), plain)
    with pytest.raises(InputError, match='RandomResizedCropWithBox') as caught:
        whole_image_view(dataset)
    assert '\n' not in str(caught.value)


def test_an_unreadable_image_stops_and_is_not_replaced(tmp_path):
    # Its row must not receive the map of another image.

    def give_up(results):
        return None if results['img'].max() == 2 else results

    dataset = custom(paint(tmp_path, [1, 2, 3]), [PIPELINE[0], give_up, *PIPELINE[1:]])
    view = whole_image_view(dataset)
    assert [grey(view[0]), grey(view[2])] == [1, 3]
    assert grey(dataset[1]) in (1, 3), 'training goes on with another'
    with pytest.raises(Exception, match='should not get `None`'):
        view[1]


def wrap(kind, tmp_path):
    one, two = paint(tmp_path / 'one', range(1, 12)), paint(tmp_path / 'two', range(101, 106))
    if kind == 'plain':
        return custom(one)
    if kind == 'subset':
        return custom(one, indices=[7, 2, 9])
    if kind == 'first few':
        return custom(one, indices=4)
    if kind == 'get_subset':
        return custom(one).get_subset([3, 8, 0, 1])
    if kind == 'repeated':
        return RepeatDataset(custom(one), times=3)
    both = dict(type='amt_mm.ConcatDataset', datasets=[custom(two), custom(one, indices=[5, 1])])
    if kind == 'joined':
        return ConcatDataset(both['datasets'])
    return RepeatDataset(both, times=2)


@pytest.mark.parametrize(('kind', 'workers'), [
    ('plain', 0), ('subset', 2), ('first few', 0), ('get_subset', 0), ('repeated', 0),
    ('joined', 0), ('joined and repeated', 2)])
def test_sample_idx_of_a_crop_is_that_of_its_whole_image(tmp_path, kind, workers):
    # With shuffling, subsets, repetition and concatenation, and a partial last batch.
    dataset = wrap(kind, tmp_path)
    view = whole_image_view(dataset)
    whole = [grey(view[index]) for index in range(len(view))]
    assert [view[i]['data_samples'].sample_idx for i in range(len(view))] == list(range(len(view)))
    assert len(set(whole)) == len(whole), 'every image once'
    loader = DataLoader(dataset, 4, shuffle=True, collate_fn=default_collate, num_workers=workers,
                        generator=torch.Generator().manual_seed(0))
    seen = []
    for batch in loader:
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            assert whole[sample.sample_idx] == int(image.unique())
            seen.append(sample.sample_idx)
    assert len(seen) == len(dataset)
    assert seen != sorted(seen)
    assert set(seen) == set(range(len(view)))


def test_fingerprint_changes_with_names_order_and_count(tmp_path):
    folder = paint(tmp_path / 'images', range(1, 6))
    variants = {'all': custom(folder), 'fewer': custom(folder, indices=4),
                'others': custom(folder, indices=[0, 1, 2, 4]),
                'reordered': custom(folder, indices=[4, 3, 2, 1, 0]),
                'joined': ConcatDataset([custom(folder), custom(folder)])}
    prints = {name: dataset_fingerprint(dataset) for name, dataset in variants.items()}
    (folder / '003.png').rename(folder / '003a.png')
    prints['renamed'] = dataset_fingerprint(custom(folder))
    (folder / 'b').mkdir()
    (folder / '003a.png').rename(folder / 'b' / '003.png')
    prints['moved inside'] = dataset_fingerprint(custom(folder))
    assert len(set(prints.values())) == len(prints), prints


def test_names_are_read_once_and_anew_for_a_subset(tmp_path, monkeypatch):
    dataset = custom(paint(tmp_path, [3, 5, 7]))
    whole = dataset_fingerprint(dataset)
    assert whole == fingerprint(['003.png', '005.png', '007.png'])
    with monkeypatch.context() as patch:
        patch.setattr(whole_image, 'sample_names', None)
        assert dataset_fingerprint(dataset) == whole
    dataset.get_subset_([0, 2])
    assert dataset_fingerprint(dataset) == fingerprint(['003.png', '007.png'])


def test_fingerprint_does_not_change_when_the_root_folder_moves(tmp_path, monkeypatch):
    folder = paint(tmp_path / 'here', range(1, 6))
    before = dataset_fingerprint(custom(folder))
    assert dataset_fingerprint(custom(folder)) == before
    assert dataset_fingerprint(custom(f'{folder}/')) == before
    moved = folder.rename(tmp_path / 'there')
    assert dataset_fingerprint(custom(moved)) == before
    monkeypatch.chdir(tmp_path)
    assert dataset_fingerprint(custom('there')) == before
    assert dataset_fingerprint(custom('./there/')) == before


def test_fingerprint_does_not_depend_on_pipeline_or_repetition(tmp_path):
    folder = paint(tmp_path, range(1, 6))
    before = dataset_fingerprint(custom(folder))
    other = [dict(type='LoadImageFromFile'), dict(CROP, scale=8), PACK]
    assert dataset_fingerprint(custom(folder, other)) == before
    assert dataset_fingerprint(RepeatDataset(custom(folder), times=2)) == before
    assert dataset_fingerprint(whole_image_view(custom(folder))) == before


def test_fingerprint_sees_the_order_of_joined_folders_with_equal_names(tmp_path):
    # Both folders have 001.png, as numbered exports do.
    one, two = custom(paint(tmp_path / 'one', range(1, 5))), custom(
        paint(tmp_path / 'two', range(1, 5)))
    assert (dataset_fingerprint(ConcatDataset([one, two]))
            != dataset_fingerprint(ConcatDataset([two, one])))


def test_fingerprint_of_joined_folders_stays_when_all_move_together(tmp_path):
    paint(tmp_path / 'here' / 'one', range(1, 5))
    paint(tmp_path / 'here' / 'two', range(1, 5))

    def joined(root):
        return dataset_fingerprint(ConcatDataset([custom(root / 'one'), custom(root / 'two')]))

    before = joined(tmp_path / 'here')
    assert joined((tmp_path / 'here').rename(tmp_path / 'there')) == before


@pytest.mark.parametrize('root', ['data', 'data/', './data', './data//', '/data', '/', 'a/../data',
                                  '..', '../', '.', 'da'])
@pytest.mark.parametrize('rest', ['x.jpg', '/x.jpg', 'a/x.jpg', '/a/x.jpg', '//a/x.jpg', 'a//x.jpg',
                                  '/./a/x', '/a/./x', '/../x', '/a/../x', '/.x', '/..x', '', '/',
                                  'ta/x.jpg', '/ä b\udcff'])
def test_names_are_paths_relative_to_the_root(root, rest):
    path = root + rest
    assert _inside(path, root) == os.path.relpath(path, root)


class InMemory(BaseDataset):
    """Samples without a path, such as CIFAR's."""

    def __init__(self, greys, **kwargs):
        self.greys = greys
        super().__init__(serialize_data=False, **kwargs)

    def load_data_list(self):
        return [dict(img=np.full((8, 8, 3), grey, np.uint8)) for grey in self.greys]


def test_samples_without_a_path_count_by_their_pixels():
    prints = [dataset_fingerprint(InMemory(greys))
              for greys in ([1, 2, 3], [1, 2, 3], [1, 3, 2], [1, 2, 4], [1, 2])]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_samples_without_a_path_have_a_view():
    view = whole_image_view(InMemory([4, 7], pipeline=[dict(CROP, scale=16), FLIP, PACK]))
    assert [grey(view[i]) for i in range(2)] == [4, 7]
    assert view[1]['inputs'].shape == (3, 16, 16)


@pytest.mark.parametrize('transform', [
    dict(type='ColorJitter', brightness=.4), dict(type='RandomGrayscale'), FLIP,
    dict(type='RandomCrop', crop_size=8), dict(type='RandomTranslatePad')])
def test_random_transforms_before_the_crop_are_refused(tmp_path, transform):
    dataset = custom(paint(tmp_path, [9]), [PIPELINE[0], transform, CROP, PACK])
    with pytest.raises(InputError, match=f'{transform["type"]} comes before'):
        whole_image_view(dataset)


@pytest.mark.parametrize('transform', [
    dict(type='Resize', scale=8), dict(type='Rotate', magnitude_range=(0, 9)), CROP,
    dict(type='EfficientNetCenterCrop', crop_size=8), dict(type='RandomTranslatePad'),
    dict(type='Transpose', keys=['img'], order=(1, 0, 2))])
def test_transforms_that_move_pixels_after_the_crop_are_refused(tmp_path, transform):
    dataset = custom(paint(tmp_path, [9]), [PIPELINE[0], CROP, transform, FLIP, PACK])
    with pytest.raises(InputError, match='comes after'):
        whole_image_view(dataset)


def test_a_resize_before_and_colours_after_the_crop_pass(tmp_path):
    dataset = custom(paint(tmp_path, [9]), [
        PIPELINE[0], dict(type='Resize', scale=(30, 20)), CROP, FLIP,
        dict(type='ColorJitter', brightness=.4), PACK])
    assert grey(whole_image_view(dataset)[0]) == 9
