"""A checkpoint from anybody brings back numbers and curves, and decides nothing outside its run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.reliability.resumed_info import check_meta, resumed_hub


def hub(**info):
    curve = HistoryBuffer()
    curve.update(2.0)
    return {'log_scalars': {'train/loss': curve}, 'runtime_info': info,
            'resumed_keys': {'train/loss': True, **dict.fromkeys(info, True)}}


def test_what_is_resumed():
    info = dict(keep_ckpt_ids=[1, 2], best_score=np.float32(.5), best_ckpt_acc='run/best_acc_1.pth',
                outdated_steps=[], outdated_iters=[7], between_iter=None)
    state, said = hub(**info, cfg='a = 1', epoch=3, last_ckpt='/x.pth'), []
    kept = resumed_hub(state, 'a.pth', said.append)
    assert kept['runtime_info'] == info and said == []
    assert kept['log_scalars'] == state['log_scalars']
    assert kept['resumed_keys'] == dict.fromkeys(['train/loss', *info], True)


def test_what_nothing_is_known_of_is_left_out_and_said():
    state, said = hub(my_state=3, other={'a': 1}), []
    state['log_scalars']['train/no_curve'] = 3
    kept = resumed_hub(state, 'a.pth', said.append)
    assert kept['runtime_info'] == {} and list(kept['log_scalars']) == ['train/loss']
    assert len(said) == 1 and 'my_state, other' in said[0] and '\n' not in said[0]


@pytest.mark.parametrize('info', [
    dict(keep_ckpt_ids=['../../x']), dict(keep_ckpt_ids=3), dict(keep_ckpt_ids=[-1]),
    dict(outdated_steps=['/etc/passwd']), dict(outdated_iters=[1.0]), dict(outdated_steps=[True]),
    dict(between_iter='/etc/passwd'), dict(best_ckpt=['/etc/passwd']), dict(best_score='much'),
    dict(best_score=True), dict(best_ckpt_acc=7)])
def test_other_types_are_refused(info):
    with pytest.raises(InputError, match=r'a\.pth: its message hub is not what .*; use another'):
        resumed_hub(hub(**info), 'a.pth', print)


@pytest.mark.parametrize('state', [None, [], {'log_scalars': {}}, dict(hub(), runtime_info=[])])
def test_no_message_hub_at_all(state):
    with pytest.raises(InputError, match='message hub'):
        resumed_hub(state, 'a.pth', print)


@pytest.mark.parametrize('meta', [
    None, {}, {'epoch': 1}, {'epoch': -1, 'iter': 0}, {'epoch': 1, 'iter': 2.0},
    {'epoch': True, 'iter': 1}, {'epoch': 1, 'iter': 1, 'seed': 2**32},
    {'epoch': 1, 'iter': 1, 'seed': 'a'}])
def test_meta_of_another_kind(meta):
    with pytest.raises(InputError, match=r'a\.pth: it cannot be resumed, since its meta\.'):
        check_meta(meta, 'a.pth')
    check_meta({'epoch': 1, 'iter': 1, 'seed': None, 'cfg': 'x'}, 'a.pth')


# --- whole runs --------------------------------------------------------------------------------


@pytest.fixture
def guided(toy_runner):
    """The factory of guided runs of 3 epochs that keep two checkpoints."""
    def make(work_dir='run', **changes):
        return toy_runner(work_dir, epochs=3, hooks=[SaliencyUpdateHook(1, 1)], default_hooks=dict(
            logger=None, checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)),
            **changes)
    return make


def tree(folder):
    """All that lies in a folder, with its content."""
    return {path.relative_to(folder): path.is_file() and path.read_bytes()
            for path in folder.rglob('*')}


def changed(source, target, change):
    content = torch.load(source, weights_only=False)
    change(content)
    torch.save(content, target)


def test_no_path_in_a_checkpoint_is_obeyed(guided, tmp_path):
    """Names of files and folders, absolute and relative, wherever a checkpoint can say one."""
    guided().train()
    victims, run = tmp_path / 'victims', tmp_path / 'run'
    (victims / 'folder').mkdir(parents=True)
    for name in ('a.txt', 'folder/b.txt', 'epoch_1.pth', 'best_acc.pth'):
        (victims / name).write_text('mine')
    paths = [str(victims / name) for name in ('a.txt', 'folder', 'epoch_1.pth', 'best_acc.pth')]
    paths += [f'../victims/{Path(path).name}' for path in paths]
    before = tree(victims)

    def attack(content):
        content['message_hub']['runtime_info'].update(
            outdated_ckpts=paths, ckpt_between=paths[0], last_ckpt=paths[0], best_ckpt=paths[3],
            best_ckpt_acc=paths[3], best_score=0.0, cfg=f'work_dir = {str(victims)!r}',
            experiment_name='../victims/x', work_dir=str(victims))
        content['meta'].update(cfg=f'work_dir = {str(victims)!r}', experiment_name='../victims/x')

    changed(run / 'epoch_2.pth', run / 'epoch_2.pth', attack)
    (run / 'epoch_3.pth').unlink()
    runner = guided(resume=True)
    runner.train()
    assert tree(victims) == before
    assert sorted(path.name for path in run.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    assert not {path.name for path in tmp_path.iterdir()} - {'run', 'victims'}


@pytest.mark.parametrize('info', [
    dict(keep_ckpt_ids=[1, 7, 8]), dict(outdated_steps=[7, 8, 3]), dict(outdated_iters=[99])])
def test_nothing_newer_than_the_checkpoint_is_deleted(guided, tmp_path, info):
    guided().train()
    run = tmp_path / 'run'
    for name in ('epoch_7.pth', 'epoch_8.pth', 'iter_99.pth'):
        (run / name).write_bytes((run / 'epoch_3.pth').read_bytes())
    changed(run / 'epoch_2.pth', run / 'epoch_2.pth',
            lambda content: content['message_hub']['runtime_info'].update(info))
    guided(load_from=str(run / 'epoch_2.pth'), resume=True).train()
    assert {'epoch_7.pth', 'epoch_8.pth', 'iter_99.pth'} <= {path.name for path in run.iterdir()}


@pytest.mark.parametrize('file', ['../../outside/epoch_1.amtmap', '/outside/epoch_1.amtmap',
                                  '..', '', 'epoch_1.amtmap/../../x.amtmap', 7])
@pytest.mark.parametrize('named', [True, False])
def test_maps_are_bare_names(guided, tmp_path, file, named):
    """A reference is where a resumed run copies a file to, so a path there would be written to."""
    guided().train()
    run, outside = tmp_path / 'run', tmp_path / 'outside'
    outside.mkdir()
    file = file.replace('/outside', str(outside)) if str(file).startswith('/') else file

    def attack(content):
        content['amt_saliency']['file'] = file

    changed(run / 'epoch_2.pth', run / 'epoch_9.pth', attack)
    for path in run.glob('epoch_[123].pth'):
        path.unlink()
    shutil.copy(run / 'saliency/epoch_1.amtmap', run / 'saliency/x.amtmap')
    how = dict(load_from=str(run / 'epoch_9.pth')) if named else {}
    with pytest.raises(InputError, match=r'amt_saliency.* is not what this toolbox writes'
                                         if named else 'none of the 1 checkpoints'):
        guided(resume=True, **how).train()
    assert list(outside.iterdir()) == []


def test_weights_alone_are_not_resumed_from(guided, tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    with pytest.raises(InputError, match=r'weights\.pth.*'):
        guided(load_from=str(tmp_path / 'weights.pth'), resume=True).train()


@pytest.mark.parametrize('record', [
    [], 3, {'number': 0}, dict(number=0, batch=-1, batches=3, processes=1, seed=0,
                               **{'batch size': 3, 'order seed': 0})])
def test_a_position_of_another_kind(guided, tmp_path, record):
    guided().train()
    changed(tmp_path / 'run/epoch_2.pth', tmp_path / 'changed.pth',
            lambda content: content.update(amt_position=record or [1]))
    with pytest.raises(InputError, match='amt_position of the checkpoint is not what'):
        guided(load_from=str(tmp_path / 'changed.pth'), resume=True).train()


def test_a_run_has_nothing_to_say_of_what_it_wrote_itself(toy_runner, capsys):
    toy_runner(epochs=1).train()
    capsys.readouterr()
    toy_runner(epochs=2, resume=True).train()
    assert 'left out' not in capsys.readouterr().err
