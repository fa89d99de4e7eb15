"""What never ends is not read, whoever reads it."""

import os

import pytest

from amt_mm.datasets import LoadImage
from amt_mm.datasets.load_mask import read_mask
from amt_mm.errors import InputError


@pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': str(path)}),
    lambda path: read_mask(str(path), False, None)])
def test_pipes_and_devices_are_not_read_for_ever(tmp_path, read):
    os.mkfifo(tmp_path / 'pipe')
    for target in (tmp_path / 'pipe', '/dev/zero'):
        (tmp_path / 'a.jpg').unlink(missing_ok=True)
        (tmp_path / 'a.jpg').symlink_to(target)
        with pytest.raises(InputError, match=r'a\.jpg: .* it is a pipe or device'):
            read(tmp_path / 'a.jpg')
