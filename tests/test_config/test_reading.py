"""read_config: paths as text and as objects."""

from pathlib import Path

import pytest

from amt_mm.config.reading import read_config
from amt_mm.errors import InputError


@pytest.mark.parametrize('kind', [str, Path])
def test_a_path_may_be_text_or_an_object(tmp_path, kind):
    file = tmp_path / 'mine.py'
    file.write_text('answer = 42\n')
    assert read_config(kind(file)).answer == 42
    with pytest.raises(InputError, match=r'absent\.py: there is no such file'):
        read_config(kind(tmp_path / 'absent.py'))
