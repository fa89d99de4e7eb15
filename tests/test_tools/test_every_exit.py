"""Every tool with files that are none, folders for files and places that cannot be written."""

import runpy
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detection_toys import toy_content, write_content
from toy_study import write_study

from amt_mm.apis import comparison, judging
from amt_mm.reliability.step_record import write_step
from amt_mm.saliency import SaliencyWriter

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parents[1] / 'test_lab/toy_training.py'
DETECTION = ROOT / 'configs/mmdet/mini'
PACKAGED = 'amt_mm::quickstart/nowhere.py'
# What stands for an argument; the rest is given as it is.
CONFIG, CHECKPOINT, FOLDER, OUT = '<config>', '<checkpoint>', '<folder>', '<out>'
STUDY, SCORES, MAPS, FILE, STEP = '<study>', '<scores>', '<maps>', '<file>', '<step>'
OBJECTS, DETECTOR, ARRAYS = '<objects>', '<detector>', '<arrays>'
CALLS = {
    'tools/train.py': [CONFIG, '--resume', CHECKPOINT, '--work-dir', OUT],
    'tools/test.py': [CONFIG, CHECKPOINT, '--work-dir', OUT],
    'tools/judge.py': [CONFIG, CHECKPOINT, '--work-dir', OUT],
    'tools/evaluate.py': [CHECKPOINT, '--data', FOLDER, '--work-dir', OUT],
    'tools/view.py': [CHECKPOINT, FOLDER, '--out', OUT],
    'tools/detect.py': [DETECTOR, CHECKPOINT, FOLDER, '--out', OUT],
    'tools/embed.py': [CHECKPOINT, FOLDER, f'{OUT}.npz'],
    'tools/export.py': [CHECKPOINT, '--to', 'timm', '--out', OUT],
    'tools/compare.py': [CONFIG, '--work-dir', OUT],
    'lab/study/__main__.py': [STUDY, '--work-dir', OUT],
    'lab/race/__main__.py': ['--data', FOLDER, '--minutes', '1', '--out', OUT],
    'tools/quickstart.py': ['--data', FOLDER, '--work-dir', OUT],
    'tools/pretrain.py': [FOLDER, '--out', OUT],
    'tools/dataset_tools/download_dataset.py': ['cifar10', '--archive', FILE, '--root', OUT],
    'tools/dataset_tools/pack_dataset.py': [FOLDER, OUT],
    'tools/dataset_tools/image_statistics.py': [FOLDER, '--out', f'{OUT}.py'],
    'tools/dataset_tools/paint_masks.py': [OBJECTS, FOLDER, OUT],
    'tools/model_converters/convert_detectron2.py': [ARRAYS, f'{OUT}.pth'],
    'tools/model_converters/convert_checkpoint.py': [CHECKPOINT, f'{OUT}.pth', '--to', 'mae'],
    'lab/benchmark/__main__.py': [CONFIG, '--out', OUT],
    'lab/benchmark_pipeline.py': [FOLDER, '--images', '2', '--out', OUT],
    'lab/gpu_check/__main__.py': ['--toy', '--data', FOLDER, '--out', OUT],
    'lab/annotation_cost.py': ['--objects', '9'],
    'lab/int8.py': [CHECKPOINT, FOLDER, FOLDER],
    'lab/growth/__main__.py': ['--samples', '9', '--out', OUT],
    'lab/cost_table.py': [CONFIG, '--out', OUT],
    'tools/analysis_tools/detection_table.py': [SCORES, '--out', OUT],
    'lab/distillation_step.py': [CONFIG, '--out', OUT],
    'lab/kill_and_resume.py': [CONFIG, '--work-dir', OUT],
    'tools/analysis_tools/map_statistics.py': [MAPS, '--draws', '2', '--out', OUT],
    'tools/analysis_tools/masked_accuracy.py': [CONFIG, CHECKPOINT, '--out', OUT],
    'lab/memory_table.py': [CONFIG],
    'lab/refresh_options.py': [CONFIG, CHECKPOINT, '--out', OUT],
    'tools/analysis_tools/replay_batch.py': [STEP, '--config', CONFIG],
    'tools/analysis_tools/sinks.py': [CONFIG, CHECKPOINT, '--out', OUT],
    'lab/six_bands.py': [OUT, '--images', '2'],
    'lab/step_options.py': [CONFIG, '--out', OUT],
}
FURTHER_CALLS = [('tools/evaluate.py', ['none', '--configs', CONFIG, '--work-dir', 'out'])]
WRONG = {
    **dict.fromkeys((CONFIG, DETECTOR), ['nowhere.py', 'folder', 'garbage', 'fault.py', 'n' * 300]),
    **dict.fromkeys((CHECKPOINT, ARRAYS), [
        'nowhere.pth', 'folder', 'garbage', 'empty', 'odd.pth']),
    **dict.fromkeys((STUDY, SCORES, FILE, STEP, OBJECTS), ['nowhere', 'folder', 'garbage']),
    **dict.fromkeys((FOLDER, MAPS), ['nowhere', 'garbage', 'folder']),
    OUT: ['garbage/below', '/proc/nowhere/below', f'{"n" * 300}/below'],
}


def cases():
    for tool, call in (*CALLS.items(), *FURTHER_CALLS):
        for i, part in enumerate(call):
            kind = next((kind for kind in WRONG if part.startswith(kind)), None)
            # Most tools look at their inputs before they find that nothing can be written.
            slow = tool.startswith('lab/') or kind == OUT
            for wrong in WRONG.get(kind, ()):
                yield pytest.param(tool, call, i, part.replace(kind, wrong),
                                   id=f'{tool}-{kind}-{wrong[:20]}',
                                   marks=[pytest.mark.slow] * slow)


@pytest.fixture(scope='module')
def right(tmp_path_factory):
    """What each kind of argument is, where it is right."""
    folder = tmp_path_factory.mktemp('right')
    model = judging.build_model(comparison.resolved(str(TOY)))
    torch.save(dict(meta=dict(epoch=1, iter=3), state_dict=model.state_dict()), folder / 'a.pth')
    chance = np.random.default_rng(0)
    (folder / 'maps').mkdir()
    for name in ('images/a', 'images/b'):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(folder / name / f'{i}.png'), chance.integers(0, 255, (70, 90, 3)))
    writer = SaliencyWriter(folder / 'maps/epoch_1.amtmap', 3, (5, 7), 'x', 1)
    writer.write(torch.arange(3), torch.rand(3, 35))
    writer.commit()
    (folder / 'scores.json').write_text('{"coco/bbox_mAP": 0.3}')
    write_step(folder / 'step.pt', [], {}, {}, {})
    objects = write_content(folder, toy_content(), images=False)
    return {CONFIG: TOY, CHECKPOINT: folder / 'a.pth', FOLDER: folder / 'images',
            STUDY: write_study(folder), SCORES: folder / 'scores.json', MAPS: folder / 'maps',
            FILE: TOY, STEP: folder / 'step.pt', OBJECTS: objects, OUT: 'out',
            ARRAYS: folder / 'a.pth',
            DETECTOR: DETECTION / 'mask-rcnn_vitdet-mini-p8_256px_1xb4-1k_coco.py'}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with things that are not what they are taken for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty').touch()
    (tmp_path / 'garbage').write_bytes(b'\x00\x9fno file of any kind')
    (tmp_path / 'fault.py').write_text('1 / 0')
    torch.save(dict(a=[1, 2]), tmp_path / 'odd.pth')
    before, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    yield
    signal.signal(signal.SIGTERM, before)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(('tool', 'call', 'at', 'wrong'), list(cases()))
def test_it_is_one_line_and_status_2(tool, call, at, wrong, right, monkeypatch, capsys):
    call = [str(right.get(part, part)).replace(OUT, 'out') for part in call]
    call[at] = wrong
    monkeypatch.setattr(sys, 'argv', [tool, *call])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    assert [line.startswith('error: ') for line in said.err.splitlines()].count(True) == 1
    assert 'Traceback' not in said.out + said.err


@pytest.mark.parametrize('tool', ['tools/evaluate.py', 'tools/view.py', 'tools/detect.py',
                                  'tools/embed.py', 'tools/quickstart.py', 'tools/pretrain.py'])
def test_results_among_the_images_are_refused(tool, right, monkeypatch, capsys):
    out = right[FOLDER] / 'results'
    given = {**right, OUT: out}
    if tool == 'tools/evaluate.py':
        given[CHECKPOINT] = 'none'  # this one is of no standard network
    call = [str(given.get(part, part)).replace(OUT, str(out)) for part in CALLS[tool]]
    monkeypatch.setattr(sys, 'argv', [tool, *call])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    assert f'inside the folder of images ({right[FOLDER]}) would count as images' in said.err
    assert sorted(path.name for path in right[FOLDER].iterdir()) == ['a', 'b']


@pytest.mark.parametrize(('tool', 'call'), [
    ('tools/compare.py', [PACKAGED]), ('tools/judge.py', [PACKAGED, 'none', '--out', 'out']),
    ('tools/evaluate.py', ['none', '--configs', PACKAGED])])
def test_configs_of_packages_are_looked_for_in_the_package(tool, call, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool, *call])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    assert f'config {PACKAGED}: amt_mm has no such config' in capsys.readouterr().err


def test_no_tool_is_left_out():
    tools = {str(path.relative_to(ROOT)) for pattern in (
        'tools/**/*.py', 'lab/*.py', 'lab/*/__main__.py') for path in ROOT.glob(pattern)}
    # That of the processes is torch's; the doctor finds a place that cannot be written.
    assert tools - set(CALLS) == {'tools/launch_processes.py', 'tools/doctor.py',
                                  'lab/__init__.py'}
