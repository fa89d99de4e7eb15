"""The tables of a step's options and of its memory, on the small configs."""

import json
import sys
from pathlib import Path

import pytest
from load_script import load_script

REPOSITORY = Path(__file__).resolve().parents[2]
BASELINE = str(REPOSITORY / 'configs/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py')
IBOT = str(REPOSITORY / 'configs/clothing/ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py')
MINI = str(REPOSITORY / 'configs/quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py')


def run(monkeypatch, name, *argv):
    module = load_script(REPOSITORY / f'lab/{name}.py')
    monkeypatch.setattr(sys, 'argv', [name, *map(str, argv)])
    module.main()


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_memory_adds_up(monkeypatch, capsys):
    run(monkeypatch, 'memory_table', MINI, '--batch-size', 1000)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    _, parameters, state, shared, image, again, total, total_again = map(
        float, ['0', *cells(lines[-1])[1:]])
    assert parameters == pytest.approx(3.2, abs=.1)
    assert state == pytest.approx(16 * parameters / 1e3, abs=.06)
    assert shared <= state and again < image / 3
    assert total == pytest.approx(state + image, abs=.2)  # a thousand MB are a GB
    assert again < total_again < total / 2


@pytest.mark.parametrize('config', [BASELINE, IBOT])
def test_memory_of_other_models_is_not_known(monkeypatch, capsys, config):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, 'memory_table', config)
    assert stop.value.code == 2
    assert 'is not a host of amt_mm' in capsys.readouterr().err


@pytest.mark.parametrize(('tool', 'option', 'value'), [
    ('memory_table', '--batch-size', 0), ('cost_table', '--rounds', -1),
    ('cost_table', '--batch-size', 0), ('refresh_options', '--rounds', 0),
    ('refresh_options', '--parts', 0), ('refresh_options', '--images', -1)])
def test_numbers_that_measure_nothing_are_refused(monkeypatch, capsys, tool, option, value):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tool, MINI, option, value)
    assert stop.value.code == 2
    assert option in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_options_are_timed_in_turn(monkeypatch, tmp_path, capsys):
    run(monkeypatch, 'step_options', MINI, '--batch-size', 4, '--rounds', 2, '--rows', 'none',
        'fused+with_cp', 'fused+bf16', '--out', tmp_path / 'table')
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert [cells(line)[0] for line in lines[2:5]] == ['none', 'fused+with_cp', 'fused+bf16']
    assert cells(lines[2])[5] == '1.000'
    assert json.loads((tmp_path / 'table.json').read_text())


@pytest.mark.slow
@pytest.mark.parametrize(('config', 'rows', 'part'), [
    (MINI, ['fast'], 'no option fast'), ('no_such.py', ['none'], 'no_such.py'),
    ('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', ['none'], 'is not a host')])
def test_what_cannot_be_timed(monkeypatch, capsys, tmp_path, config, rows, part):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, 'step_options', config, '--rows', *rows, '--out', tmp_path / 'table')
    assert stop.value.code == 2
    assert part in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_of_distillation_beside_its_parts(monkeypatch, tmp_path, capsys):
    run(monkeypatch, 'distillation_step', IBOT, '--batch-size', 1, '--rounds', 1, '--out',
        tmp_path / 'out')
    parts = json.loads((tmp_path / 'out_parts.json').read_text())['rows']
    times = {row['part']: row['time'] for row in parts}
    whole, total = times.pop('whole step'), times.pop('sum')
    assert len(times) == 8 and total == pytest.approx(sum(times.values()))
    assert [row['share'] for row in parts] == pytest.approx(
        [100 * row['time'] / whole for row in parts])
    masks = json.loads((tmp_path / 'out_masks.json').read_text())['rows']
    assert [row['masks'] for row in masks] == ['random', 'block', 'high', 'hint']
    assert masks[0]['ratio'] == 1 and masks[2]['ratio'] == masks[2]['step'] / masks[0]['step']
    text = capsys.readouterr().out
    assert f'sum of its parts: {whole / total:.3f}' in text and 'masks of the parts: random' in text


@pytest.mark.slow
def test_only_distillation_has_such_parts(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, 'distillation_step', MINI)
    assert stop.value.code == 2
    assert 'only for amt_mm.IBOT with masks' in capsys.readouterr().err
