import json

import numpy as np
import pytest

from amt_mm.errors import InputError
from amt_mm.visualization import markdown_table, table_cells, write_table

COLUMNS = {'model': 'model', 'knn': 'k-NN, %', 'steps': 'steps'}
ROWS = [
    {'model': 'random init', 'knn': 21.25},
    {'model': 'a|b', 'knn': np.float32('nan'), 'steps': 1200},
    {'model': 'AMT', 'knn': np.float32(48.0625), 'steps': None},
]


def test_cells():
    assert table_cells(ROWS, COLUMNS, {'knn': '.1f', 'steps': ','}) == [
        ['random init', '21.2', '–'],
        ['a|b', '–', '1,200'],
        ['AMT', '48.1', '–'],
    ]
    assert table_cells([{'model': True, 'knn': '48.1 ± 1.2'}], COLUMNS, {'knn': '.1f'}) == [
        ['True', '48.1 ± 1.2', '–']
    ]


def test_markdown():
    assert markdown_table(ROWS, COLUMNS, {'knn': '.1f'}) == (
        '| model       | k-NN, % | steps |\n'
        '| ----------- | ------: | ----: |\n'
        '| random init |    21.2 |     – |\n'
        '| a\\|b        |       – |  1200 |\n'
        '| AMT         |    48.1 |     – |\n'
    )


def test_files_hold_the_text_and_the_unrounded_values(tmp_path):
    markdown, data = write_table(tmp_path / 'new' / 'results.v1', ROWS, COLUMNS, {'knn': '.0f'})
    assert markdown.name == 'results.v1.md' and data.name == 'results.v1.json'
    assert markdown.read_text(encoding='utf-8') == markdown_table(ROWS, COLUMNS, {'knn': '.0f'})
    content = json.loads(data.read_text(encoding='utf-8'))
    assert list(content['columns']) == list(COLUMNS)
    assert content['rows'] == [
        {'model': 'random init', 'knn': 21.25, 'steps': None},
        {'model': 'a|b', 'knn': None, 'steps': 1200},
        {'model': 'AMT', 'knn': 48.0625, 'steps': None},
    ]


def test_what_is_not_finite_is_null_in_json_and_said_in_text(tmp_path):
    rows = [{'model': 'diverged', 'knn': float('inf'), 'steps': np.int64(3)}]
    markdown, data = write_table(tmp_path / 'x', rows, COLUMNS)
    assert 'inf' in markdown.read_text(encoding='utf-8')
    assert json.loads(data.read_text())['rows'] == [{'model': 'diverged', 'knn': None, 'steps': 3}]


@pytest.mark.parametrize(
    'call',
    [
        lambda: table_cells([{'modle': 1}], COLUMNS),
        lambda: table_cells([], COLUMNS, {'kn': '.1f'}),
        lambda: markdown_table([], {}),
    ],
)
def test_a_column_that_does_not_exist_is_said(call):
    with pytest.raises(InputError):
        call()


def test_names_that_are_no_text_are_escaped_for_the_terminal_and_kept_for_programs(tmp_path):
    name = 'caf\udce9 \x1b[31m\x85'  # a byte that is no UTF-8, and controls of a terminal
    markdown, data = write_table(tmp_path / 'table', [{'model': name}], COLUMNS)
    assert 'caf\\udce9 \\x1b[31m\\x85' in markdown.read_text(encoding='utf-8')
    assert json.loads(data.read_text(encoding='utf-8'))['rows'][0]['model'] == name
