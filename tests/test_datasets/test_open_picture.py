"""PostScript in the file of a picture is not run."""

import pytest
from PIL import EpsImagePlugin, Image

from amt_mm.datasets import LoadImage, LoadPixels
from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.load_mask import read_mask
from amt_mm.errors import InputError


@pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': path}), lambda path: LoadPixels(3)({'img_path': path}),
    lambda path: read_mask(path, False, None), lambda path: read_frame(path, 0)])
def test_postscript_is_refused_whatever_its_name(tmp_path, monkeypatch, read):
    Image.new('RGB', (9, 7)).save(tmp_path / 'a.eps')
    path = (tmp_path / 'a.eps').rename(tmp_path / 'a.jpg')
    ran = []
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *_, **__: ran.append(1))
    with pytest.raises((InputError, ValueError), match='which is a program'):
        read(str(path))
    assert not ran
