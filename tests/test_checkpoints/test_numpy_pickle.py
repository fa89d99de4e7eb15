"""Plain pickles of arrays: read as data, and nothing else."""

import os
import pickle
import sys
from collections import OrderedDict
from importlib import import_module

import numpy as np
import pytest

from amt_mm.checkpoints.numpy_pickle import read_numpy_pickle
from amt_mm.errors import InputError


@pytest.mark.parametrize('protocol', [2, 4])
def test_arrays_and_numbers_come_back(tmp_path, protocol):
    content = OrderedDict(model={'a': np.arange(6, dtype=np.float32).reshape(2, 3)},
                          iteration=np.int64(3), author='x', more=[1, None, 2.5])
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(content, protocol))
    found = read_numpy_pickle(tmp_path / 'a.pkl')
    np.testing.assert_array_equal(found['model'].pop('a'), content['model'].pop('a'))
    assert found == content


class Harmful:
    def __reduce__(self):
        return os.system, ('touch harmed', )


@pytest.mark.parametrize(('content', 'message'), [
    (pickle.dumps({'model': Harmful()}), r'a.pkl: not a pickle of arrays.*names posix.system'),
    (pickle.dumps({'model': np.zeros(9)})[:-20], 'or truncated'), (b'', 'or truncated'),
    (b'no pickle', 'or truncated')])
def test_anything_else_is_one_line(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pkl').write_bytes(content)
    with pytest.raises(InputError, match=message) as info:
        read_numpy_pickle(tmp_path / 'a.pkl')
    assert '\n' not in str(info.value) and not (tmp_path / 'harmed').exists()


def test_it_needs_no_module_that_numpy_may_remove(monkeypatch):
    monkeypatch.delitem(sys.modules, read_numpy_pickle.__module__)
    monkeypatch.setitem(sys.modules, 'numpy.core.multiarray', None)
    import_module(read_numpy_pickle.__module__)


def test_a_file_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(InputError, match='a.pkl: cannot be read: No such file'):
        read_numpy_pickle(tmp_path / 'a.pkl')
