"""tools/model_converters/convert_checkpoint.py: files in, files out, nothing lost unsaid."""

from pathlib import Path

import pytest
import torch
from hostile_checkpoints import hostile
from load_script import load_script
from released_ibot import release

from amt_mm.checkpoints import TRUST, convert, read_checkpoint

TOOL = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'convert_checkpoint.py'


@pytest.fixture
def tool():
    return load_script(TOOL)


@pytest.fixture
def source(toy_mae, tmp_path):
    path = tmp_path / 'ours.pth'
    torch.save({'state_dict': toy_mae().state_dict(), 'meta': {'grid': (5, 7)}}, path)
    return path


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize('ending', ['pth', 'pt', 'safetensors'])
@pytest.mark.parametrize('to', ['mae', 'mmpretrain'])
def test_there_and_back_through_files(tool, source, tmp_path, ending, to, capsys):
    there, back = tmp_path / f'there.{ending}', tmp_path / f'back.{ending}'
    tool.main([str(source), str(there), '--to', to])
    tool.main([str(there), str(back)])
    first, last = read_checkpoint(source), read_checkpoint(back)
    assert same(first.state, last.state)
    assert first.grid == last.grid == (5, 7)
    printed = capsys.readouterr().out
    assert f'{source} (mmpretrain) -> {there} ({to}): {len(first.state)} entries' in printed
    assert 'left out' not in printed


@pytest.mark.parametrize(('to', 'key'), [('mae', 'model'), ('timm', 'state_dict'),
                                         ('mmpretrain', 'state_dict')])
def test_weights_lie_where_others_look(tool, source, tmp_path, to, key):
    tool.main([str(source), str(tmp_path / 'a.pth'), '--to', to])
    content = torch.load(tmp_path / 'a.pth')
    assert same(content[key], convert(read_checkpoint(source).state, to).state)


@pytest.mark.filterwarnings('ignore:.*weight_norm.*:FutureWarning')
def test_a_release_of_ibot_there_and_back(tool, tmp_path, capsys):
    release(tmp_path / 'a.pth')
    tool.main([str(tmp_path / 'a.pth'), str(tmp_path / 'ours.pth')])
    tool.main([str(tmp_path / 'ours.pth'), str(tmp_path / 'b.pth'), '--to', 'ibot'])
    first, last = (torch.load(tmp_path / f'{name}.pth', weights_only=False) for name in 'ab')
    for part in ('student', 'teacher', 'ibot_loss'):
        assert same(first[part], last[part])
    assert 'left out' not in capsys.readouterr().out
    for choice, wanted in (([], 'teacher'), (['--encoder', 'student'], 'student')):
        tool.main([str(tmp_path / 'ours.pth'), str(tmp_path / 'vit.pth'), '--to', 'timm', '--force',
                   *choice])
        said = capsys.readouterr().out
        assert f'note: of teacher and student, the {wanted} was converted' in said
        state = torch.load(tmp_path / 'vit.pth')['state_dict']
        prefix = 'module.backbone.' if wanted == 'student' else 'backbone.'
        assert all(torch.equal(value, first[wanted][f'{prefix}{key}'])
                   for key, value in state.items()) and len(state) == 30


def test_timm_loads_what_was_written(tool, source, tmp_path):
    from timm.models import VisionTransformer, load_checkpoint
    model = VisionTransformer(img_size=(40, 56), patch_size=8, embed_dim=24, depth=2, num_heads=3,
                              mlp_ratio=2, num_classes=0)
    for name in ('a.pth', 'a.safetensors'):
        tool.main([str(source), str(tmp_path / name), '--to', 'timm'])
        load_checkpoint(model, str(tmp_path / name), strict=True)
        assert torch.equal(model.blocks[1].mlp.fc2.weight,
                           read_checkpoint(source).state['backbone.layers.1.ffn.layers.1.weight'])


@pytest.mark.parametrize('options', [['--to', 'timm'], ['--encoder-only']])
def test_what_is_left_out_is_printed(tool, source, tmp_path, options, capsys):
    tool.main([str(source), str(tmp_path / 'a.pth'), *options])
    printed = capsys.readouterr().out
    assert 'left out 20: neck.mask_token' in printed and 'neck.decoder_pred.bias' in printed
    assert len(read_checkpoint(tmp_path / 'a.pth').state) == 30


def test_nothing_is_overwritten_without_force(tool, source, tmp_path, capsys):
    target = tmp_path / 'a.pth'
    target.write_text('precious')
    with pytest.raises(SystemExit) as stop:
        tool.main([str(source), str(target)])
    assert stop.value.code == 2 and target.read_text() == 'precious'
    assert '--force' in capsys.readouterr().err
    tool.main([str(source), str(target), '--force'])
    assert same(read_checkpoint(target).state, read_checkpoint(source).state)


@pytest.mark.parametrize(('content', 'target', 'reason'), [
    ({'conv1.weight': torch.ones(1)}, 'b.pth',
     'a.pth: entries such as `conv1.weight` have no known naming'),
    ({'patch_embed.proj.weight': torch.ones(1)}, 'b.onnx', 'the suffix gives the format'),
    ({'patch_embed.proj.weight': torch.ones(1)}, 'no/b.pth', 'does not exist')])
def test_bad_input_is_one_line(tool, tmp_path, capsys, content, target, reason):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(SystemExit) as stop:
        tool.main([str(tmp_path / 'a.pth'), str(tmp_path / target)])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and reason in err and err.count('\n') == 1
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


def test_help_names_namings_and_examples(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(['--help'])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ('SRC', 'DST', 'mmpretrain', 'mae', 'timm', 'simmim', '--encoder-only', 'examples'):
        assert word in printed


def test_code_is_run_by_the_flag_alone(tool, toy_mae, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(TRUST, '0')
    source = hostile(tmp_path / 'a.pth', tmp_path / 'harm', state_dict=toy_mae().state_dict())
    with pytest.raises(SystemExit):
        tool.main([str(source), str(tmp_path / 'b.pth'), '--to', 'timm'])
    assert 'a.pth: needs `posix.mkdir`' in capsys.readouterr().err
    assert not (tmp_path / 'harm').exists()
    tool.main([str(source), str(tmp_path / 'b.pth'), '--to', 'timm', '--trust-checkpoint'])
    assert (tmp_path / 'harm').exists() and (tmp_path / 'b.pth').exists()


@pytest.mark.parametrize(('options', 'which'), [
    ([], 'averaged'), (['--encoder', 'teacher'], 'averaged'),
    (['--encoder', 'student'], 'trained')])
def test_averaged_weights_are_said(tool, toy_mae, tmp_path, options, which, capsys):
    parts = {'trained': toy_mae().state_dict(), 'averaged': toy_mae().state_dict()}
    parts['averaged'] = {key: value + 1 for key, value in parts['averaged'].items()}
    torch.save({'state_dict': parts['trained'], 'state_dict_ema': parts['averaged']},
               tmp_path / 'a.pth')
    tool.main([str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth'), *options])
    assert same(read_checkpoint(tmp_path / 'b.pth').state, parts[which])
    assert f'note: of trained and averaged weights, the {which} were' in capsys.readouterr().out
