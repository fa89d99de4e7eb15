"""Records of another run or of somebody else are refused before a page is made of them."""

from pathlib import Path

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.evaluation.kept import keep, kept
from amt_mm.evaluation.kept_records import is_record

GOOD = {
    'predictions_knn_top1_k20': dict(
        metric='knn/top1_k20', predictions=torch.tensor([0, 1]), labels=torch.tensor([1, 1]),
        names=['hat', 'sock']),
    'sweep_ep': dict(lrs=[.1, .2], held_out=[3., 4], weight_decays=[0, 0]),
    'neighbours': dict(
        rows=[1, 0], found=[[2, 0], [3, 1]], cosines=[[.9, .8], [.7, .5]], labels=[1, 0],
        found_labels=[[1, 0], [1, 0]], shares=[.2, .7], names=['hat', 'sock'], pooling='cls'),
    'queries_ep': dict(rows=[0, 1], maps=torch.ones(2, 7, 6), grid=[2, 3]),
    'tokens': dict(rows=[0, 1], tokens=torch.ones(2, 6, 5), grid=[2, 3])}
WIDE = torch.ones(1).expand(2, 6, 9**9)
OTHERS = {
    'predictions_knn_top1_k20': [
        dict(metric=3), dict(names='hat'), dict(names=['hat']), dict(names=[1, 2]),
        dict(labels=torch.tensor([1])), dict(labels=[1, 1]), dict(labels=torch.tensor([1., 1])),
        dict(labels=torch.tensor([1, 2])), dict(predictions=torch.tensor([-1, 1])),
        dict(predictions=torch.ones(2, 2, dtype=torch.int64)),
        dict(names=None, labels=torch.tensor([1, 10**12])),
        dict(labels=torch.ones(2, dtype=torch.int64).to_sparse())],
    'sweep_ep': [dict(lrs=[]), dict(lrs=[.1]), dict(lrs=[0., .1]), dict(lrs=['a', 'b']),
                 dict(held_out=[1., float('nan')]), dict(held_out=[1., 10**5000]),
                 dict(held_out=torch.ones(2))],
    'neighbours': [
        dict(rows=[]), dict(rows=[1]), dict(rows=[1., 0.]), dict(rows=[-1, 0]),
        dict(found=[[2, 0]]), dict(found=[2, 0]), dict(found=[[2, 0], [3]]),
        dict(found=[[], []], cosines=[[], []], found_labels=[[], []]),
        dict(found_labels=[[1, 0], [1, 2]]), dict(cosines=[[.9, .8], [.7, 'a']]),
        dict(shares=['a', 'b']), dict(labels=[1]), dict(names=[3, 4]),
        dict(found=[[0] * 101] * 2, cosines=[[0.] * 101] * 2, found_labels=[[0] * 101] * 2)],
    'queries_ep': [dict(maps=torch.ones(2, 7, 5)), dict(maps=torch.ones(3, 7, 6)),
                   dict(maps=torch.ones(2, 6)), dict(maps=torch.ones(2, 7, 6).int()),
                   dict(maps=torch.full((2, 7, 6), torch.nan)), dict(grid=[6]), dict(grid=6),
                   dict(grid=[-2, -3]), dict(maps=torch.ones(2, 0, 6)), dict(rows=[0, 'a'])],
    'tokens': [dict(tokens=WIDE), dict(tokens=torch.ones(2, 6, 4097)), dict(grid=[3, 3]),
               dict(rows=[0] * 101, tokens=torch.ones(101, 6, 5)),
               dict(tokens=torch.ones(2, 6, 5, dtype=torch.complex64))]}


@pytest.mark.parametrize('name', GOOD)
def test_what_runs_keep_is_taken_and_nothing_may_be_missing(name):
    assert is_record(name, GOOD[name])
    assert not is_record(name, [*GOOD[name]]) and not is_record(name, 3)
    unread = {'weight_decays', 'pooling'}
    for key in GOOD[name].keys() - unread:
        assert not is_record(name, {k: v for k, v in GOOD[name].items() if k != key}), key


@pytest.mark.parametrize(('name', 'change'), [
    (name, change) for name, changes in OTHERS.items() for change in changes])
def test_values_of_other_kinds_and_sizes_are_refused(name, change):
    assert not is_record(name, {**GOOD[name], **change})


def test_the_file_is_named(tmp_path):
    class Run:
        work_dir = str(tmp_path)

    keep(Run, 'tokens', **{**GOOD['tokens'], 'grid': [9, 9]})
    with pytest.raises(InputError, match=r'kept/tokens\.pth: is not what a run keeps .* remove it'):
        kept(Path(tmp_path), 'tokens')
