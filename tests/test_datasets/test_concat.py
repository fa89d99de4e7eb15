import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset, RepeatDataset
from mmengine.dataset import ConcatDataset as PlainConcatDataset
from mmengine.registry import DATASETS as ROOT_DATASETS

from amt_mm.datasets import (
    ConcatDataset,
    PackInputsWithBox,
    RandomResizedCropWithBox,
    StagedDataset,
    base_dataset,
    dataset_fingerprint,
    whole_image_view,
)
from amt_mm.errors import InputError


@ROOT_DATASETS.register_module(name='ShadesOfGrey')
class Shades(BaseDataset):
    """Flat images whose grey identifies them."""

    def __init__(self, shades, broken=(), **kwargs):
        self.shades, self.broken = shades, broken
        super().__init__(pipeline=[self.paint, RandomResizedCropWithBox(scale=(8, 12)),
                                   PackInputsWithBox()],
                         serialize_data=False, **kwargs)  # each packing collects garbage

    def load_data_list(self):
        return [dict(img_path=f'{shade}.png', shade=shade) for shade in self.shades]

    def paint(self, results):
        if results['shade'] in self.broken:
            return None  # as loaders do for unreadable images
        results['img'] = np.full((20, 30, 3), results['shade'], np.uint8)
        return results

    def get_cat_ids(self, idx):
        return [self.shades[idx]]


def shade(data):
    grey = data['inputs'].unique()
    assert len(grey) == 1
    return int(grey)


def show(dataset):
    """Identity of the image and recorded index of every item."""
    items = [dataset[index] for index in range(len(dataset))]
    return [(shade(data), data['data_samples'].sample_idx) for data in items]


def three_children(**kwargs):
    return ConcatDataset([Shades([10, 11]), Shades([20], **kwargs), Shades([30, 31, 32])])


def test_indices_are_unique_across_children():
    # Samples that share an index would share a saliency map.
    whole, shades = three_children(), [10, 11, 20, 30, 31, 32]
    assert len(whole) == 6
    for index, wanted in enumerate(shades):
        data = whole[index]
        assert shade(data) == wanted
        assert data['data_samples'].sample_idx == index
        assert whole.get_data_info(index)['sample_idx'] == index
        assert whole.get_data_info(index)['shade'] == wanted


def test_negative_indices_mean_the_same_sample():
    whole = three_children()
    for index in range(6):
        data = whole[index - 6]
        assert data['data_samples'].sample_idx == index
        assert whole.get_data_info(index - 6)['sample_idx'] == index


def test_mmengines_class_shares_indices():
    # The reason for our class, which may be removed if this changes upstream.
    plain = PlainConcatDataset([Shades([10, 11]), Shades([20])])
    assert plain[0]['data_samples'].sample_idx == plain[2]['data_samples'].sample_idx == 0


def test_a_replaced_image_keeps_the_index_of_the_one_shown():
    # The child replaces an unreadable image by another one.
    whole = ConcatDataset([Shades([10, 11]), Shades([20, 21, 22, 23], broken=(21, ))])
    shades = [10, 11, 20, 21, 22, 23]
    seen = set()
    for _ in range(30):
        data = whole[3]
        assert shades[data['data_samples'].sample_idx] == shade(data)
        seen.add(shade(data))
    assert 21 not in seen
    assert len(seen) > 1


def test_nests():
    inner = dict(type='amt_mm.ConcatDataset', datasets=[Shades([20]), Shades([30, 31])])
    whole = ConcatDataset([Shades([10, 11]), inner, Shades([40])])
    assert show(whole) == list(zip([10, 11, 20, 30, 31, 40], range(6), strict=True))


def test_subsets_may_be_joined():
    whole = ConcatDataset([Shades([10, 11, 12], indices=[2, 0]), Shades([20, 21], indices=1)])
    assert show(whole) == [(12, 0), (10, 1), (20, 2)]


@pytest.mark.parametrize('lazy', [False, True])
def test_a_repeated_child_is_refused(lazy):
    child = dict(type='RepeatDataset', times=2, dataset=dict(type='ShadesOfGrey', shades=[1, 2]))
    with pytest.raises(InputError, match='RepeatDataset') as caught:
        ConcatDataset([Shades([10]), child], lazy_init=lazy).full_init()
    assert '\n' not in str(caught.value)


def test_an_oversampling_child_is_refused_or_supported():
    # ClassBalancedDataset repeats samples of rare classes.
    child = dict(type='ClassBalancedDataset', oversample_thr=.9,
                 dataset=dict(type='ShadesOfGrey', shades=[1, 2]))
    assert len(ClassBalancedDataset(Shades([1, 2]), .9)) > 2
    try:
        whole = ConcatDataset([child, Shades([10])])
        whole_images = show(whole_image_view(whole))
    except InputError:
        return
    assert [index for _, index in whole_images] == list(range(3))
    assert set(show(whole)) == set(whole_images)


def test_neither_order_with_a_staged_data_set_advises_the_other():
    # Both are refused, so neither may be the way out of the other.
    child = dict(type='ShadesOfGrey', shades=[1, 2])
    with pytest.raises(InputError, match='StagedDataset of a ConcatDataset.*: leave it out$'):
        StagedDataset(dict(type='amt_mm.ConcatDataset', datasets=[child, child]))
    with pytest.raises(InputError, match='ConcatDataset of a StagedDataset.*: leave it out$'):
        ConcatDataset([dict(type='amt_mm.StagedDataset', dataset=child), child])


def test_repeating_the_whole_is_fine():
    whole = RepeatDataset(dict(type='amt_mm.ConcatDataset', datasets=[Shades([10]), Shades([20])]),
                          times=3)
    assert len(whole) == 6
    assert [whole[i]['data_samples'].sample_idx for i in range(6)] == [0, 1] * 3
    assert len(whole_image_view(whole)) == 2


@pytest.mark.parametrize('use', [base_dataset, whole_image_view, dataset_fingerprint])
def test_mmengines_class_is_refused(use):
    with pytest.raises(InputError, match='amt_mm.ConcatDataset') as caught:
        use(PlainConcatDataset([Shades([10]), Shades([20])]))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('use', [whole_image_view, dataset_fingerprint])
def test_mmengines_class_is_refused_inside_ours(use):
    plain = dict(type='ConcatDataset', datasets=[Shades([10]), Shades([20])])
    with pytest.raises(InputError, match='amt_mm.ConcatDataset'):
        use(ConcatDataset([plain, Shades([30])]))


def test_mmengines_class_is_refused_inside_a_repetition():
    plain = RepeatDataset(dict(type='ConcatDataset', datasets=[Shades([10]), Shades([20])]), 2)
    with pytest.raises(InputError, match='amt_mm.ConcatDataset'):
        whole_image_view(plain)
