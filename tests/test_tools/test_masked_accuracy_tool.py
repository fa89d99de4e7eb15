"""From an iBOT checkpoint to a linear head on 4 blocks, and to its accuracy on masked images."""

import json

import cv2
import numpy as np
import pytest
import torch
from load_script import load_script
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from amt_mm.shipped import configs_folder, tools_folder

ARCH = dict(embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=48)
CONFIG = configs_folder() / 'benchmarks/linear/vit-base-p16_1xb256-last4-coslr-100e_folder.py'


def load_tool(path):
    module = load_script(path)
    return module.main


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Three classes of colours, 7 images to train and 3 to test each, 24 pixels."""
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    monkeypatch.setenv('LOCAL_RANK', '0')
    chance = np.random.RandomState(0)
    for part, count in (('train', 7), ('val', 3)):
        for number, name in enumerate(('blue', 'green', 'red')):
            folder = tmp_path / 'images' / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = chance.randint(0, 90, (24, 24, 3))
                image[..., number] += 150
                cv2.imwrite(str(folder / f'{i}.png'), image.astype(np.uint8))
    (tmp_path / 'small.py').write_text(
        f'_base_ = {str(CONFIG)!r}\n'
        f'model = dict(backbone=dict(arch=dict(_delete_=True, **{ARCH}), patch_size=8))\n')
    return ['--work-dir', str(tmp_path / 'run'), '--cfg-options', 'overlay.image_size=24',
            f'overlay.labelled.dataset.data_root={tmp_path / "images"}',
            'overlay.labelled.num_classes=3', 'train_dataloader.num_workers=0',
            'test_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
            'train_dataloader.batch_size=8', 'optim_wrapper.optimizer.lr=0.02',
            'train_cfg.max_epochs=3', 'train_cfg.val_interval=3']


@pytest.mark.slow
def test_a_teacher_is_probed_and_blinded(tmp_path, options, capsys):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='amt_mm.IBOT',
        backbone=dict(type='amt_mm.IBOTViT', img_size=24, patch_size=8,
                      arch=ARCH),
        head=dict(type='amt_mm.DistillationHead', out_channels=19, hidden_channels=16,
                  bottleneck_channels=8),
        masking=dict(type='amt_mm.CropMasking', strategy='high')))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=.2)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'ibot.pth')
    load_tool(tools_folder() / 'train.py')([
        str(tmp_path / 'small.py'), '--pretrained', str(tmp_path / 'ibot.pth'), *options])
    assert 'of the backbone loaded from the teacher' in capsys.readouterr().out
    trained = tmp_path / 'run/epoch_3.pth'
    state = torch.load(trained, weights_only=False)['state_dict']
    assert torch.equal(state['backbone.layers.3.ln1.weight'],
                       model.teacher.backbone.layers[3].ln1.weight)
    assert state['head.fc.weight'].shape == (3, 96)

    tool = load_tool(tools_folder() / 'analysis_tools/masked_accuracy.py')
    tool([str(tmp_path / 'small.py'), str(trained), '--ratios', '0', '0.34', '1', *options])
    printed = capsys.readouterr().out
    table = json.loads((tmp_path / 'run/masked_accuracy.json').read_text())
    assert [row['ratio'] for row in table['rows']] == ['0', '0.34', '1']
    assert list(table['columns']) == ['ratio', 'high', 'low', 'random']
    first, _, last = table['rows']
    assert first['high'] == first['low'] == first['random'] > 100 / 3
    # Black images are all alike.
    assert last['high'] == last['low'] == pytest.approx(100 / 3)
    page = (tmp_path / 'run/masked_accuracy.html').read_text()
    assert '<svg' in page and 'most attended' in page and '9 images. Also in' in printed

    # The classifier's encoder is the teacher: as a guide, it changes nothing but the files.
    backbone = dict(type='amt_mm.IBOTViT', img_size=24, patch_size=8, arch=ARCH)
    cfg = Config(dict(model=dict(type='amt_mm.IBOT', backbone=backbone))).pretty_text
    torch.save({'state_dict': model.state_dict(), 'meta': {'cfg': cfg}}, tmp_path / 'guide.pth')
    tool([str(tmp_path / 'small.py'), str(trained), '--ratios', '0', '0.34', '1', '--guide',
          str(tmp_path / 'guide.pth'), *options])
    guided = tmp_path / 'run/masked_accuracy_by_guide'
    assert json.loads(guided.with_suffix('.json').read_text())['rows'] == table['rows']
    assert str(tmp_path / 'guide.pth') in guided.with_suffix('.html').read_text()


@pytest.mark.parametrize(('config', 'more', 'message'), [
    (CONFIG, [], 'gone.pth: there is no such file'),
    (CONFIG, ['--guide', 'nowhere.pth'], '--guide nowhere.pth: there is no such file'),
    (CONFIG, ['--launcher', 'pytorch'], '--launcher: this tool is one process'),
    (configs_folder() / 'benchmarks/knn/vit-base-p16_knn_folder.py', [], 'trains no classifier')])
def test_bad_input_is_one_line(tmp_path, capsys, config, more, message):
    checkpoint = tmp_path / ('gone.pth' if 'gone' in message else 'a.pth')
    if 'gone' not in message:
        checkpoint.touch()
    with pytest.raises(SystemExit) as stop:
        load_tool(tools_folder() / 'analysis_tools/masked_accuracy.py')(
            [str(config), str(checkpoint), *more])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and message in err and err.count('\n') == 1
