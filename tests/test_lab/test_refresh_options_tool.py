"""refresh_options.py: its table on a toy, with and without checkpoints, and its one-line errors."""

import json
import sys
from pathlib import Path

import conftest
import cv2
import pytest
import torch
from load_script import load_script

TOOL = Path(__file__).parents[2] / 'lab/refresh_options.py'
HOOK = dict(type='amt_mm.SaliencyUpdateHook', begin=2, interval=2)


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


@pytest.fixture
def config(tmp_path, toy_mae):
    """The factory ``config(hooks)`` of config files, beside a folder of 7 images."""
    for index, image in enumerate(conftest.noise_images(7)):
        (tmp_path / 'images').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / f'{index}.png'), image)

    def write(hooks=(HOOK, )):
        model = toy_mae(build=False)
        parts = dict(
            default_scope='mmpretrain', data_preprocessor=model.pop('data_preprocessor'),
            model=model, custom_hooks=list(hooks), train_cfg=dict(max_epochs=8),
            train_dataloader=dict(dataset=dict(
                type='amt_mm.ImageFolder', data_root=str(tmp_path / 'images'),
                pipeline=[dict(type='amt_mm.LoadImage'), *conftest.toy_pipeline()])))
        path = tmp_path / 'toy.py'
        path.write_text('\n'.join(f'{name} = {value!r}' for name, value in parts.items()))
        return str(path)

    return write


def run(tool, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(sys, 'argv', [
        'refresh_options.py', *arguments, '--rounds', '2', '--batch-size', '3', '--heights', '24',
        '--parts', '2', '3', '--out', str(tmp_path / 'out')])
    tool.main()
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    return {row['option']: row for row in rows}


def test_without_a_checkpoint_times_alone(tool, config, tmp_path, monkeypatch, capsys):
    rows = run(tool, monkeypatch, tmp_path, config())
    assert list(rows) == ['full', 'bf16', '24x32 pixels', '24x32 pixels, bf16', 'parts=2',
                          'parts=3']
    assert rows['24x32 pixels']['grid'] == '3x4'
    # Refreshes before epochs 2, 4 and 6: three whole, or one and two halves or thirds.
    passes = {name: rows[name]['multiply_adds'] / (1 - rows[name]['multiply_adds'])
              for name in ('full', 'parts=2', 'parts=3')}
    assert passes['parts=2'] / passes['full'] == pytest.approx(2 / 3)
    assert passes['parts=3'] / passes['full'] == pytest.approx((1 + 2 / 3) / 3)
    assert all(row['ms'] > 0 and 0 < row['fp32'] < 1 for row in rows.values())
    assert 'mean' not in rows['bf16'] and 'loading' not in rows['bf16']
    times = json.loads((tmp_path / 'out.rounds.json').read_text())
    assert len(times['step warm-up bf16']) == 2
    assert '| full' in capsys.readouterr().out


@pytest.mark.slow
def test_maps_of_checkpoints_are_compared(tool, config, tmp_path, monkeypatch, toy_mae):
    names = []
    for seed in (0, 1, 2):
        names.append(str(tmp_path / f'{seed}.pth'))
        torch.save(dict(state_dict=toy_mae(seed).state_dict()), names[-1])
    rows = run(tool, monkeypatch, tmp_path, config(), names[0], '--older', *names[1:])
    assert rows['full']['mean'] is None
    assert rows['bf16']['mean'] > .9
    assert abs(rows['not renewed for 2 refreshes']['mean']) < .6, 'another network'
    # Samples 0, 2, 4, 6 are renewed, 1, 3, 5 are those of the older network.
    old = rows['not renewed for 1 refresh']['mean']
    assert old < rows['parts=2']['mean'] < 1
    assert rows['24x32 pixels']['mean'] < 1 and rows['24x32 pixels']['ceiling'] < 1
    assert rows['parts=3']['loading'] < rows['full']['loading']


@pytest.mark.parametrize(('hooks', 'arguments', 'message'), [
    ((), (), 'no SaliencyUpdateHook'), ((HOOK, ), ('none.pth', ), 'none.pth'),
    ((HOOK, ), ('--older', __file__), 'name that, too')])
def test_bad_input_is_one_line(tool, config, tmp_path, monkeypatch, capsys, hooks, arguments,
                               message):
    with pytest.raises(SystemExit) as caught:
        run(tool, monkeypatch, tmp_path, config(hooks), *arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message in error
