"""sinks.py: a table from checkpoints, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from load_script import load_script

from amt_mm.apis.comparison import resolved
from amt_mm.apis.judging import build_model
from amt_mm.shipped import tools_folder

CONFIG = Path(__file__).parents[1] / 'test_lab/toy_training.py'
OPTIONS = ['probe.test.num_samples=5', 'probe.train.num_samples=5']


@pytest.fixture(scope='module')
def tool():
    return load_script(tools_folder() / 'analysis_tools/sinks.py')


@pytest.fixture(scope='module')
def model():
    return build_model(resolved(str(CONFIG)))


@pytest.mark.slow
def test_a_row_a_checkpoint(tool, model, tmp_path, capsys):
    files = [tmp_path / f'{name}.pth' for name in ('even', 'loud')]
    torch.save({'state_dict': model.state_dict()}, files[0])
    loud = {key: value.clone() for key, value in model.state_dict().items()}
    loud['backbone.pos_embed'][0, 1 + 9] += 1000  # one patch with a large norm, in all images
    torch.save({'state_dict': loud}, files[1])
    tool.main([str(CONFIG), *map(str, files), '--out', str(tmp_path / 'out'), '--cfg-options',
               *OPTIONS])
    even, loud = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [row['checkpoint'] for row in (even, loud)] == list(map(str, files))
    assert even['outliers'] < 1
    assert loud['largest'] > 10
    assert loud['outliers'] == pytest.approx(100 / 64)
    assert '5 images, 64 patches each: even attention would give 1.6 %' in capsys.readouterr().out


@pytest.mark.parametrize(('config', 'words'), [
    ('configs/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', 'has no `probe`'),
    ('configs/studies/_base_/mae_vit-mini-p8_scenes_24e.py', 'sees 16 of 64 patches'),
])
def test_what_it_refuses(tool, config, words, model, tmp_path, capsys):
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    small = ['model.backbone.arch.embed_dims=24', 'model.backbone.arch.num_layers=1',
             'model.backbone.arch.feedforward_channels=24', *OPTIONS]
    with pytest.raises(SystemExit):
        tool.main([str(tools_folder().parent / config), str(tmp_path / 'x.pth'),
                   *(['--cfg-options', *small] if 'studies' in config else [])])
    assert words in capsys.readouterr().err
