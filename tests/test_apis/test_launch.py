from __future__ import annotations

import argparse
import socket
from datetime import timedelta

import pytest
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from amt_mm.apis import launch
from amt_mm.cli import arguments
from amt_mm.errors import InputError
from amt_mm.registry import HOOKS
from amt_mm.reliability.watchdog import watchdog

CONFIG = """
default_scope = '{scope}'
model = dict(type='Toy', backbone=dict(depth=3, scales=[1, 2], stages=[dict(width=8), dict()]))
train_dataloader = dict(batch_size=4, num_workers={workers}, dataset=dict(type='Toy'))
"""


def write_config(folder, text=None, name='toy.py', scope='mmpretrain', workers=2):
    path = folder / name
    path.write_text(CONFIG.format(scope=scope, workers=workers) if text is None else text)
    return str(path)


def parse(*argv):
    parser = argparse.ArgumentParser()
    arguments.add_shared_arguments(parser)
    return parser.parse_args(argv)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'TORCHELASTIC_RUN_ID', 'SLURM_PROCID',
                 'OMPI_COMM_WORLD_RANK'):
        # setenv first: what the code under test sets is then taken back, too.
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)


# --- reading the config ------------------------------------------------------------------------


def test_options_are_typed_and_replace_the_config(tmp_path):
    args = parse('--cfg-options', 'model.backbone.depth=5', 'model.backbone.stages.1.width=7',
                 'train_dataloader.dataset.type=Other', 'model.backbone.scales=[.5,7]')
    cfg = launch.load_config(write_config(tmp_path), args)
    assert cfg.model.backbone.depth == 5
    assert cfg.model.backbone.scales == [0.5, 7]
    assert cfg.model.backbone.stages == [dict(width=8), dict(width=7)]
    assert cfg.train_dataloader.dataset.type == 'Other'


@pytest.mark.parametrize(('given', 'expected'), [
    ((), './work_dirs/toy'),
    (('--work-dir', 'elsewhere'), 'elsewhere'),
    (('--cfg-options', 'work_dir=from_options'), 'from_options'),
])
def test_work_dir(tmp_path, given, expected):
    assert launch.load_config(write_config(tmp_path), parse(*given)).work_dir == expected


def test_config_of_an_installed_package():
    name = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
    cfg = launch.load_config(name, parse())
    assert cfg.model.type == 'MAE'
    assert cfg.work_dir == './work_dirs/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k'


@pytest.mark.parametrize(('option', 'said'), [
    ('model.bakbone.depth', 'nothing reads bakbone there; did you mean backbone?'),
    ('trin_dataloader.batch_size', 'nothing reads trin_dataloader; did you mean train_dataloader?'),
    ('nothing_like_it', 'nothing reads nothing_like_it'),
])
def test_an_option_that_nothing_reads_stops_the_run(tmp_path, option, said):
    with pytest.raises(InputError) as info:
        launch.load_config(write_config(tmp_path), parse('--cfg-options', f'{option}=1'))
    assert str(info.value) == f'--cfg-options {option}: {said}'


def test_what_a_class_may_take_is_added_and_said_to_be(tmp_path, capsys):
    cfg = launch.load_config(write_config(tmp_path),
                             parse('--cfg-options', 'model.backbone.qkv=7'))
    assert cfg.model.backbone.qkv == 7
    assert capsys.readouterr().err == (
        'warning: --cfg-options model.backbone.qkv: the config has no qkv there, it is added\n')


def test_a_known_option_is_not_warned_of(tmp_path, capsys):
    text = CONFIG.format(scope='mmpretrain', workers=0) + "overlay = dict(extra=dict(ratio=.5))\n"
    launch.load_config(write_config(tmp_path, text), parse(
        '--cfg-options', 'model.backbone.stages.0.width=9', 'extra.ratio=.4',
        'overlay.extra.ratio=.3'))
    assert capsys.readouterr().err == ''


def test_only_the_first_process_warns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    launch.load_config(write_config(tmp_path), parse('--cfg-options', 'model.unheard=1'))
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(('name', 'text', 'part'), [
    ('broken.py', 'model = dict(', 'not valid Python'),
    ('orphan.py', "_base_ = './no_such_base.py'", 'no_such_base.py'),
    ('kind.toml', 'a = 1', 'py/yml/yaml/json'),
    ('clash.py', "_base_ = ['./toy.py', './toy2.py']", 'Duplicate key'),
    ('absent.py', "_base_ = 'mmseg::a/b.py'", 'mmseg'),
])
def test_an_unreadable_config_is_one_line(tmp_path, name, text, part):
    write_config(tmp_path)
    write_config(tmp_path, name='toy2.py')
    path = write_config(tmp_path, text, name)
    with pytest.raises(InputError) as info:
        launch.load_config(path, parse())
    assert path in str(info.value)
    assert part in str(info.value)
    assert len(str(info.value).splitlines()) == 1


@pytest.mark.parametrize(('path', 'part'), [
    ('no/such/file.py', 'there is no such file'),
    ('no_such_package::mae/x.py', 'no package no_such_package'),
    ('mmyolo::a/b.py', 'no package mmyolo'),
    ('mmpretrain::x.py', 'PACKAGE::FOLDER/NAME.py'),
    ('mmpretrain::mae/no_such.py', 'no_such.py'),
])
def test_a_config_that_is_not_there(path, part):
    with pytest.raises(InputError, match=part):
        launch.load_config(path, parse())


@pytest.mark.parametrize('option', ['scales.7=1', 'scales.0=1', 'stages.2.width=1', 'stages.x=1',
                                    'depth.deeper=1'])
def test_an_option_that_does_not_fit(tmp_path, option):
    with pytest.raises(InputError, match='do not fit'):
        launch.load_config(write_config(tmp_path), parse('--cfg-options',
                                                         f'model.backbone.{option}'))


# --- data loaders ------------------------------------------------------------------------------


@pytest.mark.parametrize(('scope', 'completed'), [('mmpretrain', True), ('mmdet', False)])
def test_loaders_of_mmpretrain_are_completed(tmp_path, scope, completed):
    loader = launch.load_config(write_config(tmp_path, scope=scope), parse()).train_dataloader
    assert (loader.get('collate_fn') == dict(type='default_collate')) is completed
    assert (loader.get('persistent_workers') is True) is completed


def test_without_workers_none_persist(tmp_path):
    text = CONFIG.format(scope='mmpretrain', workers=4) + (
        'train_dataloader.update(persistent_workers=True)\n')
    args = parse('--cfg-options', 'train_dataloader.num_workers=0')
    loader = launch.load_config(write_config(tmp_path, text), args).train_dataloader
    assert loader.persistent_workers is False


def test_more_workers_than_cores_are_no_warning(tmp_path, recwarn):
    launch.load_config(write_config(tmp_path), parse())
    DataLoader([0], num_workers=10_000)
    assert not recwarn.list


def test_an_inherited_collate_function_has_no_scope(tmp_path):
    base = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
    cfg = launch.load_config(write_config(tmp_path, f'_base_ = {base!r}'), parse())
    # What the runner hands to the function besides the samples.
    assert set(cfg.train_dataloader.collate_fn) == {'type'}


# --- errors ------------------------------------------------------------------------------------


def test_input_errors_are_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as stop, launch.one_line_errors():
        raise InputError('picture.png: empty file')
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: picture.png: empty file\n'


def test_the_line_of_a_loader_worker(capsys):
    try:
        raise InputError('sample 0: empty file')
    except InputError:
        from_worker = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(SystemExit), launch.one_line_errors():
        from_worker.reraise()
    assert capsys.readouterr().err == 'error: sample 0: empty file\n'


def test_a_fault_keeps_its_traceback():
    with pytest.raises(ValueError, match='not for the user'), launch.one_line_errors():
        raise ValueError('not for the user')


# --- processes ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def unwatched():
    """What the tools of these tests have begun to watch is not watched in other tests."""
    yield
    watchdog.leave()


def config_for(tmp_path, launcher, extra=''):
    text = CONFIG.format(scope='mmpretrain', workers=0) + extra
    return launch.load_config(write_config(tmp_path, text), parse('--launcher', launcher))


@pytest.mark.parametrize(('launcher', 'environment', 'part'), [
    ('pytorch', {}, 'RANK is not set'),
    ('slurm', {}, 'SLURM_PROCID is not set'),
    ('slurm', {'SLURM_PROCID': '0'}, 'needs a GPU for each process'),
    ('mpi', {'OMPI_COMM_WORLD_RANK': '0'}, 'needs a GPU for each process'),
    ('none', {'TORCHELASTIC_RUN_ID': 'x', 'WORLD_SIZE': '2'}, 'add --launcher pytorch'),
])
def test_processes_that_would_go_wrong(tmp_path, monkeypatch, launcher, environment, part):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=part):
        launch.prepare_processes(config_for(tmp_path, launcher))


def test_more_processes_than_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('RANK', '2')
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(InputError, match='process 2 of this machine has no GPU'):
        launch.prepare_processes(config_for(tmp_path, 'pytorch'))
    monkeypatch.setenv('LOCAL_RANK', '1')
    launch.prepare_processes(config_for(tmp_path, 'pytorch'))


def test_one_process_needs_no_group(tmp_path):
    cfg = config_for(tmp_path, 'none')
    launch.prepare_processes(cfg)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in cfg


def test_a_group_on_cpu(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    for name, value in dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1',
                            MASTER_PORT=str(port)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    seen = {}
    start = torch.distributed.init_process_group
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        lambda *args, **kwargs: (seen.update(kwargs), start(*args, **kwargs)))
    extra = ("env_cfg = dict(dist_cfg=dict(backend='nccl', timeout=7200))\n"
             'find_unused_parameters = True\nmodel_wrapper_cfg = dict(static_graph=True)\n')
    cfg = config_for(tmp_path, 'pytorch', extra)
    try:
        launch.prepare_processes(cfg)
        assert torch.distributed.get_backend() == 'gloo'
        assert seen['timeout'] == timedelta(seconds=7200)
    finally:
        launch.end_processes()
    assert not torch.distributed.is_initialized()
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=True, static_graph=True)


@pytest.mark.parametrize(('message', 'status'), [
    ('[pair.cc:553] Connection closed by peer [127.0.0.1]:21915. Check', 1),
    ('[unbound_buffer.cc:81] Timed out waiting 60000ms for recv operation', 75),
])
def test_a_process_that_was_left_alone_is_one_line(capsys, message, status):
    with pytest.raises(SystemExit) as stop, launch.one_line_errors():
        raise RuntimeError(message)
    line, = capsys.readouterr().err.splitlines()
    assert stop.value.code == status and 'another process of this run has ended' in line
    with pytest.raises(RuntimeError, match='shapes'), launch.one_line_errors():
        raise RuntimeError('shapes differ')


def test_a_setting_that_a_class_does_not_have_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop, launch.one_line_errors():
        HOOKS.build(dict(type='amt_mm.NanGuardHook', skp=3))
    assert stop.value.code == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('error: config: NanGuardHook.__init__() got an unexpected') and (
        "'skp'" in line)


def test_a_fault_inside_a_class_keeps_its_traceback():
    @HOOKS.register_module(name='FaultyHook', force=True)
    class FaultyHook:
        def __init__(self):
            dict(1)

    with pytest.raises(TypeError), launch.one_line_errors():
        HOOKS.build(dict(type='amt_mm.FaultyHook'))
