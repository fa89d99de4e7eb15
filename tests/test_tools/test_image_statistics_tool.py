import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from deep_images import values, write_bands
from load_script import load_script
from mmengine.config import Config
from PIL import Image


@pytest.fixture
def tool():
    return load_script(Path(__file__).parents[2] / 'tools/dataset_tools/image_statistics.py')


def test_the_config_that_is_written_is_read_by_training(tool, tmp_path, capsys):
    for index in range(5):
        (tmp_path / 'images').mkdir(exist_ok=True)
        write_bands(tmp_path / 'images' / f'{index}.tif',
                    values((6, 8, 9), 'uint16', 4000, seed=index))
    out, data = tmp_path / 'pixels.py', tmp_path / 'found.json'
    tool.main([str(tmp_path / 'images'), '--out', str(out), '--json', str(data)])
    said = capsys.readouterr().out
    assert 'uint16 with 6 channel(s): 5' in said and '8 x 9: 5 (height x width)' in said
    assert said.count('\n| ') == 7 + 1
    pixels = Config.fromfile(out).overlay.pixels
    assert pixels.channels == 6 and len(pixels.window) == 6
    assert json.loads(data.read_text())['images'] == 5


def test_the_name_of_a_folder_is_no_code_in_the_config(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path('a{{$z:x|\n__import__("os").mkdir("made")#}}')
    (tmp_path / 'a.py').write_text(tool.config_text({'b': 1}, folder))
    assert Config.fromfile(tmp_path / 'a.py').to_dict() == {'b': 1}
    assert not (tmp_path / 'made').exists()


def test_names_of_files_are_fit_for_a_terminal(tool, tmp_path, capsys):
    for name in ('a\x1b[2J\nb.png', 'c\x1b[2J.png'):
        Image.new('RGB', (9, 8)).save(tmp_path / name)
    (tmp_path / 'd\x1b[2J.png').write_text('no image')
    tool.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert 'same        a\\x1b[2J\\nb.png, c\\x1b[2J.png\n' in said
    assert 'broken      d\\x1b[2J.png: ' in said and '\x1b' not in said


def test_what_is_there_is_not_replaced(tool, tmp_path, capsys):
    Image.new('RGB', (9, 8)).save(tmp_path / 'a.png')
    (tmp_path / 'a.py').write_text('mine')
    with pytest.raises(SystemExit, match='2'):
        tool.main([str(tmp_path), '--out', str(tmp_path / 'a.py')])
    assert 'a.py exists; --force replaces it' in capsys.readouterr().err
    assert (tmp_path / 'a.py').read_text() == 'mine'


def test_photographs_need_no_settings(tool, tmp_path, capsys):
    Image.new('RGB', (9, 8)).save(tmp_path / 'a.png')
    Image.new('L', (9, 8)).save(tmp_path / 'b.png')
    tool.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert f'next: amt pretrain {tmp_path}, which reads them as photographs' in said
    assert 'others      ' not in said


def test_files_of_other_kinds_are_named(tool, tmp_path, capsys):
    for index in range(9):
        Image.new('RGB', (9, 8)).save(tmp_path / f'{index}.png')
    for index in range(6):
        tifffile.imwrite(tmp_path / f'deep{index}.tif', np.full((8, 9), 900, np.uint16))
    tool.main([str(tmp_path), '--json', str(tmp_path / 'found.json')])
    said = capsys.readouterr().out
    assert 'others      uint16 with 1 channel(s): deep0.tif, deep1.tif' in said
    assert 'deep4.tif and 1 more (--json FILE has all)' in said
    assert 'next: move the files of other kinds, which `others` lists' in said
    found = json.loads((tmp_path / 'found.json').read_text())
    assert found['others'] == [['uint16', 1, [f'deep{index}.tif' for index in range(6)]]]


def test_deep_files_among_others_are_not_sent_to_one_window(tool, tmp_path, capsys):
    for index, kind in enumerate((np.uint8, np.uint8, np.uint16)):
        tifffile.imwrite(tmp_path / f'{index}.tif', np.full((8, 9), 90, kind))
    tool.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert 'others      uint16 with 1 channel(s): 2.tif' in said and '--out' not in said


@pytest.mark.slow
def test_pages_are_asked_for(tool, tmp_path, capsys):
    pages = [Image.new('L', (9, 8), value) for value in range(3)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(SystemExit, match='2'):
        tool.main([str(tmp_path)])
    assert 'has 3 pages' in capsys.readouterr().err
    tool.main([str(tmp_path), '--pages', 'channels'])
    assert 'uint8 with 3 channel(s): 1' in capsys.readouterr().out


def test_the_next_command_can_be_typed(tool, tmp_path, capsys):
    folder = tmp_path / 'a b'
    folder.mkdir()
    for index in range(2):
        pages = [values((8, 9), 'uint16', 4000, seed=index + page) for page in range(3)]
        tifffile.imwrite(folder / f'{index}.tif', np.stack(pages), photometric='minisblack')
    tool.main([str(folder), '--pages', 'frames'])
    assert (f"next: amt statistics '{folder}' --pages frames --out FILE.py, then amt pretrain "
            f"'{folder}' --pixels FILE.py\n") in capsys.readouterr().out


def test_images_of_different_channels_have_no_pixels_file(tool, tmp_path, capsys):
    Image.fromarray(values((8, 9), 'uint16', 60_000)).save(tmp_path / 'a.png')
    Image.new('RGB', (9, 8)).save(tmp_path / 'b.png')
    tool.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert said.endswith(f'may stay together: amt pretrain {tmp_path}\n')
    assert '--pixels' not in said
