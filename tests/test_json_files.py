"""JSON files of runs: strict when written, and named when they cannot be read."""

import json

import numpy as np
import pytest

from amt_mm.errors import InputError
from amt_mm.json_files import plain_values, read_figures, read_json


@pytest.mark.parametrize('text', ['', '{"knn": 41.', '[' * 5000])
def test_a_broken_file_is_named(tmp_path, text):
    file = tmp_path / 'result.json'
    file.write_text(text)
    with pytest.raises(InputError, match=r'result\.json is not JSON .*: remove it'):
        read_json(file)
    with pytest.raises(InputError, match=r'other\.json: No such file'):
        read_json(tmp_path / 'other.json')


@pytest.mark.parametrize('content', [[1], 'text', 3, {'knn': '41.'}, {'knn': [41]}, {'knn': True}])
def test_what_is_no_figure_is_named(tmp_path, content):
    file = tmp_path / 'result.json'
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'result\.json holds something else than figures'):
        read_figures(file)
    file.write_text('{"knn": 41, "linear": null}')
    assert read_figures(file) == {'knn': 41, 'linear': None}


def test_values_survive_strict_json():
    content = {'a': [np.float32(.5), float('nan'), (1, np.int64(7))], 'b': -float('inf'), 'c': 'x'}
    text = json.dumps(plain_values(content), allow_nan=False)
    assert json.loads(text) == {'a': [.5, None, [1, 7]], 'b': None, 'c': 'x'}
