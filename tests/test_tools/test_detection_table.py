"""Results of COCO and LVIS in one table with the paper's."""

import json
from pathlib import Path

import pytest
from load_script import load_script

import amt_mm.registry  # noqa: F401

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/detection_table.py'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The tool in this process: importing the stack anew takes seconds."""
    module = load_script(TOOL)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        monkeypatch.setattr('sys.argv', [str(TOOL), *args])
        module.main()

    return call


def test_table(tmp_path, run, capsys):
    coco = {f'coco/{kind}_{name}': value for kind, scale in (('bbox', 1), ('segm', .5))
            for name, value in (('mAP', .3 * scale), ('mAP_50', .5 * scale), ('mAP_75', -1))}
    lvis = {f'lvis/{kind}_{name}': (i + 1) / 100 + (kind == 'segm') / 10
            for kind in ('bbox', 'segm')
            for i, name in enumerate(('AP', 'AP50', 'AP75', 'APr', 'APc', 'APf'))}
    path = tmp_path / 'mask-rcnn' / '20260101' / '20260101.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(coco))
    (tmp_path / 'lvis.json').write_text(json.dumps(lvis))
    run(str(path), 'ours=lvis.json', '--out', 'out')
    assert '36.6 that the paper prints' in capsys.readouterr().out
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [row['run'] for row in rows[:3]] == ['mask-rcnn', 'ours', 'random init, the paper']
    assert len(rows) == 2 + 2 * 4
    first = rows[0]
    assert first['box AP'] == pytest.approx(30) and first['mask AP50'] == pytest.approx(25)
    assert first['box AP75'] is None and first['box APr'] is None
    assert rows[1]['box APf'] == pytest.approx(6) and rows[1]['mask APr'] == pytest.approx(14)
    amt = next(row for row in rows if row['run'] == 'MAE + AMT, the paper'
               and row['data'] == 'lvis')
    assert (amt['box AP'], amt['mask AP75']) == (26.9, 27.7)


@pytest.mark.parametrize(('label', 'run_name'), [
    ('', 'lr=1'), ('ours=', 'ours'), ('lr=1=', 'lr=1')])
def test_folders_with_the_sign_of_labels(tmp_path, run, label, run_name):
    path = tmp_path / 'lr=1/20260101/scores.json'
    path.parent.mkdir(parents=True)
    path.write_text('{"coco/bbox_mAP": 0.3}')
    run(f'{label}lr=1/20260101/scores.json', '--out', 'out')
    assert json.loads((tmp_path / 'out.json').read_text())['rows'][0]['run'] == run_name


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('log.json', '{"a": 1}\n{"a": 2}\n', 'is not one JSON object'),
    ('other.json', '{"accuracy/top1": 1}', 'has no box AP'),
    ('deep.json', '[' * 5000, 'is not one JSON object'), ('list.json', '[1]', 'has no box AP'),
    ('number.json', '1', 'has no box AP'),
    ('text.json', '{"coco/bbox_mAP": "a"}', 'coco/bbox_mAP is a, not a number'),
    ('none.json', None, 'there is no such file')])
def test_what_is_no_result(tmp_path, run, capsys, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        run(name)
    assert end.value.code == 2
    line, = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f'error: result {name}') and message in line
