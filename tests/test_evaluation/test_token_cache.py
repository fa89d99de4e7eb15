"""Cached patch tokens: which, in what order, in what file, and what is refused."""

import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from labelled_toys import LabelledImages
from mmengine.logging import MMLogger

from amt_mm.errors import InputError
from amt_mm.evaluation import token_cache
from amt_mm.evaluation.dataset_features import loader_in_order
from amt_mm.evaluation.token_cache import labelled_tokens

LABELS = [4, 0, 2, 1, 1]


def cached(model, folder, batch_size=2, dataset=None):
    return labelled_tokens(model, loader_in_order(dataset or LabelledImages(LABELS), batch_size),
                           folder / 'new' / 'x.tokens')


def test_tokens_are_those_of_the_images_one_at_a_time(toy_mae, tmp_path):
    model = toy_mae()
    found = cached(model, tmp_path)
    dataset = LabelledImages(LABELS)
    assert found.labels.tolist() == LABELS
    assert found.tokens.shape == (5, 35, 24) and found.tokens.dtype == torch.float16
    for i in range(5):
        inputs = model.data_preprocessor.normalize(dataset[i]['inputs'][None])
        with torch.no_grad():
            tokens = model.eval().backbone(inputs)[-1][0, 1:]
        # Rounded to 11 bits, nothing else.
        torch.testing.assert_close(found.tokens[i].float(), tokens, rtol=2**-11, atol=1e-5)


def test_the_file_has_the_size_that_is_logged_beforehand_and_no_name_afterwards(
        toy_mae, tmp_path, monkeypatch):
    sizes, said = [], []
    allocate = os.posix_fallocate
    monkeypatch.setattr(os, 'posix_fallocate', lambda file, start, size: (
        sizes.append((start, size, len(said))), allocate(file, start, size)))
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    found = cached(toy_mae(), tmp_path, batch_size=4)
    assert sizes == [(0, 5 * 35 * 24 * 2, 1)]
    assert said == ['Caching patch tokens of 5 x 35 x 24 in float16: 0.0 MB in '
                    f'{tmp_path / "new"}']
    assert list((tmp_path / 'new').iterdir()) == []
    # It is a file all the same: its pages are mapped.
    with open('/proc/self/maps') as maps:
        assert re.search(rf'{tmp_path}/new/x-\w+\.tokens \(deleted\)', maps.read())
    assert torch.isfinite(found.tokens).all()


def test_runs_that_give_the_same_name_at_the_same_time_have_their_own_files(tmp_path, monkeypatch):
    both, allocate = threading.Barrier(2, timeout=20), token_cache.allocate
    monkeypatch.setattr(token_cache, 'allocate', lambda *args: (allocate(*args), both.wait())[0])
    monkeypatch.setattr(token_cache, 'barrier', both.wait)

    def fill(value):
        found = token_cache.shared_tensor(tmp_path / 'x.tokens', (3, ), torch.float16, 'tokens')
        found += value
        both.wait()
        return found.tolist()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fill, (1, 2))) == [[1] * 3, [2] * 3]


def test_a_full_disk_is_one_line(toy_mae, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(InputError, match=r'the patch tokens need 0.0 GB, .* free; .*cache'):
        cached(toy_mae(), tmp_path)
    assert list((tmp_path / 'new').iterdir()) == []


def test_processes_on_two_machines_are_refused(toy_mae, tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, 'all_gather_object', lambda name: [name, f'not-{name}'])
    with pytest.raises(InputError, match='on one machine'):
        cached(toy_mae(), tmp_path)


def test_tokens_that_float16_cannot_hold_are_refused(toy_mae, tmp_path):
    model = toy_mae()
    with torch.no_grad():
        model.backbone.ln1.bias.fill_(7e4)
    with pytest.raises(InputError, match='not finite in float16'):
        cached(model, tmp_path)


def test_images_without_labels_are_named(toy_mae, toy_images, tmp_path):
    from labelled_toys import WHOLE
    with pytest.raises(InputError, match='no class label'):
        cached(toy_mae(), tmp_path, dataset=toy_images(3, WHOLE))
