"""tools/train.py --pretrained: where the name of the encoder goes."""

from pathlib import Path

import pytest
from load_script import load_script
from mmengine.config import Config

from amt_mm.errors import InputError

TOOL = Path(__file__).parents[2] / 'tools' / 'train.py'


@pytest.fixture
def enter():
    """What the hook's checkpoint becomes by these arguments."""
    tool = load_script(TOOL)

    def run(*options, hooks=None):
        cfg = Config(dict(train_dataloader={}, train_cfg={}, optim_wrapper={}, default_hooks=(
            dict(pretrained=dict(type='amt_mm.PretrainedBackboneHook', checkpoint=''))
            if hooks is None else hooks)))
        tool.apply_training_arguments(cfg, tool.parse_args(['config.py', *options]))
        hook = cfg.default_hooks.pretrained
        return (hook.checkpoint, hook.encoder) if 'encoder' in hook else hook.checkpoint

    return run


def test_the_hook_gets_the_file(enter, tmp_path):
    file = tmp_path / 'a.pth'
    file.touch()
    assert enter('--pretrained', str(file)) == str(file)
    assert enter('--pretrained', 'none') == 'none'
    assert enter() == ''


def test_the_hook_gets_the_choice_of_an_encoder(enter, tmp_path):
    file = tmp_path / 'a.pth'
    file.touch()
    assert enter('--pretrained', str(file), '--encoder', 'student') == (str(file), 'student')
    with pytest.raises(InputError, match='--encoder student: the config has no default_hooks.pre'):
        enter('--encoder', 'student', hooks={})
    with pytest.raises(SystemExit):
        enter('--encoder', 'ema')


def test_a_missing_file(enter):
    with pytest.raises(InputError, match='--pretrained gone.pth: there is no such file'):
        enter('--pretrained', 'gone.pth')


def test_a_config_of_pre_training(enter):
    with pytest.raises(InputError, match='config.py has no default_hooks.pretrained'):
        enter('--pretrained', 'none', hooks={})
