"""Files of features, read by the libraries whose they are."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from amt_mm.apis.feature_files import check_format, write_features
from amt_mm.errors import InputError

NAMES = ['a b/ü.png', 'c.jpg', 'd.jpg']
SETTINGS = dict(tokens='mean', blocks=[3, 11])


@pytest.fixture(params=[((3, 5), np.float32), ((3, 7, 5), np.float16)], ids=['rows', 'patches'])
def features(request):
    shape, dtype = request.param
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_npz(tmp_path, features):
    write_features(tmp_path / 'a.npz', NAMES, features, SETTINGS)
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as file:
        assert file['names'].tolist() == NAMES and json.loads(str(file['settings'])) == SETTINGS
        assert file['features'].dtype == features.dtype
        assert np.array_equal(file['features'], features)
    assert list(tmp_path.iterdir()) == [tmp_path / 'a.npz']


def test_torch(tmp_path, features):
    write_features(tmp_path / 'a.pt', NAMES, features, SETTINGS)
    content = torch.load(tmp_path / 'a.pt', weights_only=True)
    assert content['names'] == NAMES and content['settings'] == SETTINGS
    assert torch.equal(content['features'], torch.from_numpy(features))


def test_parquet(tmp_path, features, monkeypatch):
    parquet = pytest.importorskip('pyarrow.parquet')
    # Two parts, of two rows and of one.
    monkeypatch.setattr('amt_mm.apis.feature_files._GROUP', 2)
    write_features(tmp_path / 'a.parquet', [*NAMES[:2], 'caf\udce9.jpg'], features, SETTINGS)
    table = parquet.read_table(tmp_path / 'a.parquet')
    assert table['path'].to_pylist() == [*NAMES[:2], 'caf\\udce9.jpg']
    assert np.array_equal(np.array(table['features'].to_pylist(), features.dtype), features)
    assert json.loads(table.schema.metadata[b'settings']) == SETTINGS


def test_what_cannot_be_written(monkeypatch):
    with pytest.raises(InputError, match='a.csv: the suffix gives the format, one of .npz, .pt, '):
        check_format(Path('a.csv'))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='needs pyarrow: pip install pyarrow, or use .npz or .pt'):
        check_format(Path('a.parquet'))
    check_format(Path('a.npz'))
