"""tools/test.py --encoder: for protocols that load a pre-trained encoder, and no others."""

from pathlib import Path

import pytest
from load_script import load_script
from mmengine.config import Config

from amt_mm.errors import InputError

TOOL = Path(__file__).parents[2] / 'tools' / 'test.py'


@pytest.fixture
def enter(tmp_path):
    """What a config of these parts becomes by these arguments."""
    tool = load_script(TOOL)
    (tmp_path / 'a.pth').touch()

    def run(*options, **parts):
        cfg = Config(dict(default_hooks=dict(pretrained=dict(checkpoint='')), **parts))
        args = tool.parse_args(['config.py', str(tmp_path / 'a.pth'), *options])
        tool.enter_checkpoint(cfg, args.checkpoint, args.encoder)
        return cfg

    return run


@pytest.mark.parametrize('encoder', ['teacher', 'student'])
def test_the_hook_gets_it(enter, encoder):
    cfg = enter('--encoder', encoder)
    assert cfg.default_hooks.pretrained.encoder == encoder and cfg.load_from is None
    assert 'encoder' not in enter().default_hooks.pretrained


def test_a_trained_model_has_its_encoder(enter):
    with pytest.raises(InputError, match='--encoder student: .* a whole trained model'):
        enter('--encoder', 'student', train_cfg=dict(max_epochs=3))
    assert enter(train_cfg=dict(max_epochs=3)).load_from.endswith('a.pth')
