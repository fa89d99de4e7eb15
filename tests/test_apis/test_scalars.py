"""scalars: a line that was cut off is left out, a damaged one is named."""

import pytest

from amt_mm.apis.scalars import scalars
from amt_mm.errors import InputError


@pytest.mark.parametrize(('line', 'why'), [
    ('{"step": 1', 'is not JSON'), ('[' * 5000, 'is not JSON'), ('\udcff', 'is not JSON'),
    ('[1]', 'is no record of numbers'), ('{"step": "1"}', 'is no record of numbers')])
def test_a_damaged_line_of_scalars_is_named(tmp_path, line, why):
    file = tmp_path / 'run' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n', errors='surrogateescape')
    with pytest.raises(InputError, match=rf'scalars\.json:2 {why}.*: remove the line'):
        scalars(tmp_path)


@pytest.mark.parametrize('cut', ['', '{"accura', '\0\0\0'])
def test_scalars_end_before_a_line_that_was_cut_off(tmp_path, cut):
    for run, text in (('1', f'{{"step": 1}}\n{cut}'), ('2', '{"step": 2}\n')):
        (tmp_path / run / 'vis_data').mkdir(parents=True)
        (tmp_path / run / 'vis_data/scalars.json').write_text(text)
    assert scalars(tmp_path) == [{'step': 1}, {'step': 2}]
