"""read_config: paths as text and as objects."""

from pathlib import Path

import pytest

from amt_mm.config.reading import read_config, require_file
from amt_mm.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('kind', [str, Path])
def test_a_path_may_be_text_or_an_object(tmp_path, kind):
    file = tmp_path / 'mine.py'
    file.write_text('answer = 42\n')
    assert read_config(kind(file)).answer == 42
    with pytest.raises(InputError, match=r'absent\.py: there is no such file'):
        read_config(kind(tmp_path / 'absent.py'))


AMT = 'mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'
MISTYPED = AMT.replace('mae-amt', 'mae-atm')


def refusal(path, monkeypatch, folder=ROOT):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError) as info:
        read_config(path)
    return str(info.value)


@pytest.mark.slow
@pytest.mark.parametrize(('path', 'meant'), [
    (f'configs/mae/{MISTYPED}', f'configs/mae/{AMT}'),
    # A folder that is not there: whoever has installed the package has no clone.
    (f'config/mae/{AMT}', f'amt_mm::mae/{AMT}'), (f'mae/{MISTYPED}', f'amt_mm::mae/{AMT}'),
    (f'amt_mm::mae/{MISTYPED}', f'amt_mm::mae/{AMT}'),
    (f'amt_mm::mea/{AMT}', f'amt_mm::mae/{AMT}'),
    ('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300_in1k.py',
     'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py')])
def test_a_mistyped_config_is_said_to_be_like_others(path, meant, monkeypatch):
    said, _, suggested = refusal(path, monkeypatch).partition('; did you mean ')
    assert said.startswith(f'config {path}: ')
    names = suggested.removesuffix('?').replace(' or ', ', ').split(', ')
    assert meant in names and len(names) == 3
    # What is suggested can be typed.
    for name in names:
        read_config(name)


@pytest.mark.parametrize('path', ['mine.py', 'configs/mae', 'a\0b.py', '', 'no/such/folder'])
def test_nothing_like_it(path, monkeypatch, tmp_path):
    assert refusal(path, monkeypatch, tmp_path) == f'config {path}: there is no such file'


def test_a_mistyped_checkpoint(tmp_path):
    for name in ('epoch_30.pth', 'epoch_29.pth', 'log.json'):
        (tmp_path / name).write_text('')
    with pytest.raises(InputError) as info:
        require_file(str(tmp_path / 'epoch_30.pt'), 'checkpoint')
    assert str(info.value).endswith(
        f'did you mean {tmp_path}/epoch_30.pth or {tmp_path}/epoch_29.pth?')
    require_file('https://somewhere/x.pth', 'checkpoint')
