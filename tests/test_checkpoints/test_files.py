"""Checkpoint files: all usual formats are read, no code is run, bad files are refused."""

import argparse
import random
import sys
import types

import pytest
import torch
from hostile_checkpoints import Attack
from safetensors.torch import load_file, save_file

from amt_mm.checkpoints import files, read_checkpoint, write_checkpoint
from amt_mm.errors import InputError

STATE = {'a.weight': torch.arange(6.).reshape(2, 3), 'b': torch.tensor(7, dtype=torch.int64)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.', 'module._orig_mod.'])
@pytest.mark.parametrize('wrap', [
    lambda state: state, lambda state: {'state_dict': state, 'meta': {}},
    lambda state: {'model': state, 'optimizer': {'state': {0: torch.ones(1)}}, 'epoch': 3},
    lambda state: {'module': state}, lambda state: {'model': {'module': state}}])
def test_weights_are_found_under_all_keys_of_releases(tmp_path, wrap, prefix):
    torch.save(wrap({prefix + key: value for key, value in STATE.items()}), tmp_path / 'a.pth')
    assert same(read_checkpoint(tmp_path / 'a.pth').state, STATE)


def test_a_name_that_starts_like_a_wrapper_is_kept(tmp_path):
    torch.save({'modules.a': torch.ones(1)}, tmp_path / 'a.pth')
    assert list(read_checkpoint(tmp_path / 'a.pth').state) == ['modules.a']


def test_old_format_of_torch(tmp_path):
    torch.save(STATE, tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / 'a.pth').state, STATE)


def test_every_damage_of_the_old_format_is_one_line(tmp_path):
    torch.save({'state_dict': STATE}, tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    whole = (tmp_path / 'a.pth').read_bytes()
    chance = random.Random(0)
    refused = 0
    for number in range(300):
        content = bytearray(whole)
        content[chance.randrange(len(whole))] = chance.randrange(256)
        path = tmp_path / f'{number}.pth'
        path.write_bytes(content)
        try:
            read_checkpoint(path)
        except InputError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.parametrize('grid', [f'{"9" * 5000}x1', '3x4'])
def test_a_grid_of_no_size_is_none(tmp_path, grid):
    save_file(STATE, tmp_path / 'a.safetensors', {'grid': grid})
    assert read_checkpoint(tmp_path / 'a.safetensors').grid == ((3, 4) if grid == '3x4' else None)


def test_a_checkpoint_of_mmengine_with_its_curves_and_its_grid(toy_runner, toy_mae):
    runner = toy_runner(epochs=1, cfg=dict(model=toy_mae(build=False)), default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook')))
    runner.train()
    checkpoint = read_checkpoint(f'{runner.work_dir}/epoch_1.pth')
    assert same(checkpoint.state, runner.model.state_dict())
    assert checkpoint.config == dict(model=toy_mae(build=False))
    assert checkpoint.grid == (5, 7)  # 40 x 56 pixels in patches of 8


@pytest.mark.parametrize(('backbone', 'grid'), [
    ('dict(img_size=224, patch_size=16)', (14, 14)), ('dict(img_size=(32, 64), patch_size=16)',
                                                      (2, 4)),
    ('dict(patch_size=16)', None), ('dict(img_size=size(), patch_size=16)', None), ('3', None)])
def test_the_grid_is_read_without_running_the_config(tmp_path, backbone, grid):
    cfg = f'raise SystemExit\nx = 1\nmodel = dict(backbone={backbone})'
    torch.save({'state_dict': STATE, 'meta': {'cfg': cfg}}, tmp_path / 'a.pth')
    assert read_checkpoint(tmp_path / 'a.pth').grid == grid


def test_arguments_of_mae_and_config_of_simmim_are_ignored(tmp_path, monkeypatch):
    class CfgNode(dict):
        """As yacs has it, which need not be installed."""

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    config = CfgNode(MODEL=CfgNode(TYPE='vit'))
    config.__dict__['__immutable__'] = True
    modules = {'yacs': types.ModuleType('yacs'), 'yacs.config': types.ModuleType('yacs.config')}
    modules['yacs.config'].CfgNode = CfgNode
    with monkeypatch.context() as context:
        for name, module in modules.items():
            context.setitem(sys.modules, name, module)
        torch.save({'model': STATE, 'args': argparse.Namespace(lr=.1), 'config': config},
                   tmp_path / 'a.pth')
    assert same(read_checkpoint(tmp_path / 'a.pth').state, STATE)


@pytest.mark.parametrize('new', [True, False])
def test_code_in_a_file_is_not_run_but_named(tmp_path, new):
    torch.save({'state_dict': STATE, 'extra': Attack(str(tmp_path / 'harm'))}, tmp_path / 'a.pth',
               _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match=r'a\.pth: needs `(posix|nt)\.mkdir`') as error:
        read_checkpoint(tmp_path / 'a.pth')
    assert not (tmp_path / 'harm').exists() and '\n' not in str(error.value)


def test_a_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'torch\.nn\.modules\.linear\.Linear.*state_dict'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
@pytest.mark.parametrize('keep', [0, 1, 20, 200, -20])
def test_a_truncated_file_is_refused(tmp_path, ending, keep):
    path = tmp_path / f'a.{ending}'
    write_checkpoint(path, {'a': torch.zeros(200)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match='(not a checkpoint,|is damaged) or truncated') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize('ending', ['pth', 'pt', 'safetensors', ''])
@pytest.mark.parametrize('content', [b'version https://git-lfs.github.com/spec/v1\noid sha256:12\n',
                                     b'<!DOCTYPE html>', b'\x89PNG\r\n\x1a\n' + bytes(range(200))])
def test_other_formats_are_refused(tmp_path, ending, content):
    path = tmp_path / f'a.{ending}'
    path.write_bytes(content)
    with pytest.raises(InputError, match='not a checkpoint'):
        read_checkpoint(path)


@pytest.mark.parametrize('content', [{}, [1, 2], {'epoch': 3}, {'state_dict': {}}, torch.ones(2)])
def test_no_weights(tmp_path, content):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='no weights in it'):
        read_checkpoint(tmp_path / 'a.pth')


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match='no such checkpoint'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['a.pth', 'a.pt', 'a.safetensors'])
@pytest.mark.parametrize('grid', [None, (5, 7)])
def test_round_trip(tmp_path, name, grid):
    tied = torch.ones(3)
    state = {**STATE, 'tied': tied, 'again': tied, 'turned': torch.arange(6.).reshape(2, 3).t(),
             'half': torch.ones(2, dtype=torch.bfloat16)}
    write_checkpoint(tmp_path / name, state, grid, under='model')
    checkpoint = read_checkpoint(tmp_path / name)
    assert same(checkpoint.state, state) and checkpoint.grid == grid
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
def test_permissions_follow_the_umask(tmp_path, name):
    (tmp_path / 'plain').touch()
    write_checkpoint(tmp_path / name, STATE)
    assert (tmp_path / name).stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_safetensors_is_a_plain_state_dict(tmp_path):
    write_checkpoint(tmp_path / 'a.safetensors', STATE)
    assert same(load_file(tmp_path / 'a.safetensors'), STATE)
    save_file(STATE, tmp_path / 'b.safetensors')
    assert same(read_checkpoint(tmp_path / 'b.safetensors').state, STATE)


@pytest.mark.parametrize('error', [
    OSError('disk full'),
    RuntimeError('[enforce fail at inline_container.cc:664] . the disk\nis full')])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, error):
    write_checkpoint(tmp_path / 'a.pth', STATE)

    def fail(content, path):
        path.write_bytes(b'half')
        raise error

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(InputError, match=r'a\.pth could not be saved: .*disk'):
        write_checkpoint(tmp_path / 'a.pth', {'other': torch.ones(1)})
    assert same(read_checkpoint(tmp_path / 'a.pth').state, STATE)
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


@pytest.mark.parametrize(('name', 'reason'), [
    ('a.onnx', 'suffix'), ('no/a.pth', 'folder .* does not exist')])
def test_an_impossible_target_is_refused(tmp_path, name, reason):
    with pytest.raises(InputError, match=reason):
        write_checkpoint(tmp_path / name, STATE)


@pytest.mark.parametrize('odd', [
    torch.zeros(1).as_strided((1, 2**40, 3), (0, 0, 0)), torch.zeros(2, 3).to_sparse(),
    torch.zeros(2, 3, device='meta'),
    torch.quantize_per_tensor(torch.ones(2, 3), .1, 0, torch.qint8)])
def test_a_tensor_without_its_values_is_refused(tmp_path, odd):
    """Of strides of 0, a few bytes claim terabytes."""
    torch.save({'state_dict': {'a': torch.ones(2), 'b': odd}}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'a\.pth: `b` is not a plain tensor'):
        read_checkpoint(tmp_path / 'a.pth')


def test_views_of_shared_values_are_plain(tmp_path):
    whole = torch.arange(6.).view(2, 3)
    state = {'a': whole, 'b': whole[0], 'c': whole.t(), 'd': torch.zeros(0, 3), 'e': whole.view(-1)}
    torch.save(state, tmp_path / 'a.pth')
    assert same(read_checkpoint(tmp_path / 'a.pth').state, state)


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_more_tensors_than_any_encoder_are_refused_before_they_are_read(tmp_path, suffix,
                                                                        monkeypatch):
    monkeypatch.setattr(files, '_MOST_TENSORS', 2000)
    path, values = tmp_path / f'a.{suffix}', torch.zeros(2001)
    for count in (2000, 2001):
        state = {f'{i}.w': value for i, value in enumerate(values[:count].split(1))}
        if suffix == 'pth':
            torch.save(state, path)
        else:
            save_file({name: value.clone() for name, value in state.items()}, path)
        if count == 2000:
            assert len(read_checkpoint(path).state) == count
    monkeypatch.setattr(files, 'is_plain', lambda _: pytest.fail('looked at'))
    with pytest.raises(InputError, match=rf'a.{suffix}: has 2001 tensors, more than any'):
        read_checkpoint(path)
