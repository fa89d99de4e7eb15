"""Detection from the command line on tiny images: train, resume, evaluate."""

import json
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from detection_toys import toy_content, write_content
from load_script import load_script
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner

import amt_mm.registry  # noqa: F401

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = {base!r}
model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    backbone=dict(img_size=64, arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)),
    neck=dict(in_channels=24, out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(
            in_channels=16, conv_out_channels=16, fc_out_channels=16, num_classes=3),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_classes=3)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=20)),
    # Keep all detections, however bad, so that the metric has something to count.
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0., max_per_img=5)))
train_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(.5, 1.), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(
        data_root={data!r}, ann_file='annotations.json', pipeline=train_pipeline)))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root={data!r}, ann_file='annotations.json'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={data!r} + '/annotations.json')
test_evaluator = val_evaluator
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
"""


@pytest.fixture(autouse=True)
def mmdet_scope(monkeypatch):
    # Runs every compiler of the machine for its version, which takes longer than a toy run.
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    before = DefaultScope.get_current_instance()
    yield
    init_default_scope(before.scope_name)


def main(name):
    tool = load_script(ROOT / 'tools' / f'{name}.py')
    return tool.main


def run(tool, work_dir, *arguments):
    """Return the lines that the run writes to scalars.json."""
    # Runs in one process share MMEngine loggers and visualizers of the same name.
    name = f'{work_dir.parent.name}-{work_dir.name}'
    main(tool)([*map(str, arguments), '--work-dir', str(work_dir), '--cfg-options',
                f'experiment_name={name}', f'visualizer.name={name}'])
    path, = work_dir.glob('*/vis_data/scalars.json') if tool == 'train' else work_dir.glob(
        '*/*.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_train_resume_and_evaluate(tmp_path):
    data = tmp_path / 'data'
    data.mkdir()
    content = toy_content()
    path = write_content(data, content)
    config = tmp_path / 'toy.py'
    config.write_text(CONFIG.format(data=str(data), base=str(
        ROOT / 'configs/mmdet/mini/mask-rcnn_vitdet-mini-p8_256px_1xb4-1k_lvis-v1.py')))

    unbroken = run('train', tmp_path / 'a', config, '--pretrained', 'none')
    steps = {line['step']: line for line in unbroken if 'loss' in line}
    assert list(steps) == [1, 2]
    measured, = (line for line in unbroken if 'lvis/segm_AP' in line)

    resumed = run('train', tmp_path / 'b', config, '--pretrained', 'none',
                  '--resume', tmp_path / 'a' / 'iter_1.pth')
    again, = (line for line in resumed if 'loss' in line)
    losses = [name for name in steps[2] if name.startswith('loss')]
    assert len(losses) == 6 and again['step'] == 2
    assert {name: again[name] for name in losses} == {name: steps[2][name] for name in losses}
    assert again['loss'] != steps[1]['loss']

    tested, = run('test', tmp_path / 'c', config, tmp_path / 'a' / 'iter_2.pth')
    scores = {name for name in measured if name.startswith('lvis/')}
    assert len(scores) == 18
    assert {name: tested[name] for name in scores} == {name: measured[name] for name in scores}

    # The same classes in another order than in the checkpoint.
    content['categories'].reverse()
    path.write_text(json.dumps(content))
    # Not capsys: the logger of this run would write to its stream after it is closed.
    said = StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as stop:
        run('test', tmp_path / 'd', config, tmp_path / 'a' / 'iter_2.pth')
    assert stop.value.code == 2
    assert ('error: class 0 is cat in the checkpoint, but emu in test_dataloader.dataset'
            in said.getvalue())
